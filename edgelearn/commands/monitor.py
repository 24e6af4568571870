"""`edgelearn monitor`: a device that learns by itself, in the terminal or in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from edgelearn.commands.common import (
    EXISTING,
    NEW_LEARNING_RATE,
    PORT,
    PROJECT,
    check_web,
    command_line,
    served,
    warn_unsaved,
    web_options,
)


@click.command()
@PORT
@PROJECT
@click.option("--train/--predict", default=None, help="Start the sensor, to learn from its samples or only to predict.")
@click.option("--stop", is_flag=True, help="Stop the sensor; `stream` can then be used again.")
@click.option("--label", default="", help="Learn all samples as this class, until another is named on the page.")
@click.option(
    "--self-label",
    type=click.FloatRange(0.0, 1.0),
    default=None,
    help="Learn the predicted class where its probability is at least this.",
)
@click.option("--samples", type=click.IntRange(min=0), default=0, help="Let the sensor take so many; 0: go on.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Look at each n-th sample.")
@NEW_LEARNING_RATE
@click.option(
    "--autosave-steps",
    type=click.IntRange(min=0),
    default=None,
    help="Let the device save its head after so many steps; 0: only when asked.",
)
@click.option("--bundle", type=EXISTING, default=None, help="Refuse a device that runs another model than this.")
@click.option("--runs", type=EXISTING, default=Path("runs"), show_default=True, help="Where run folders are kept.")
@web_options
def monitor(
    port: str,
    project: Path | None,
    train: bool | None,
    stop: bool,
    label: str,
    self_label: float | None,
    samples: int,
    every: int,
    learning_rate: float | None,
    autosave_steps: int | None,
    bundle: Path | None,
    runs: Path,
    web: bool,
    web_address: str,
    web_port: int,
    web_token: str,
) -> None:
    """Watch a device that takes samples from its own sensor.

    Without --train, --predict, --label or --self-label the sensor is left as it is. Ctrl-C ends the watching, not the
    learning.
    """
    from edgelearn import pipeline
    from edgelearn.bundle import read_bundle
    from edgelearn.host.monitor import MonitorOptions, check_sensor
    from edgelearn.host.view import choose_view

    starts = train is not None or bool(label) or self_label is not None
    if stop and starts:
        raise click.UsageError("--stop excludes --train, --predict, --label and --self-label")
    if train is False and (label or self_label is not None):
        raise click.UsageError("--label and --self-label are for learning: leave out --predict")
    if label and self_label is not None:
        raise click.UsageError("--label and --self-label exclude each other")
    if samples and not starts:
        raise click.UsageError("--samples goes with --train, --predict, --label or --self-label")
    options = MonitorOptions(
        start=starts,
        train=starts and train is not False,
        label=label,
        self_label=self_label,
        samples=samples,
        learning_rate=learning_rate,
        autosave_steps=autosave_steps,
        report_every=every,
    )
    check_web(web)
    booted = (project or Path()) if port == pipeline.EMULATE else None
    with (
        served(web, web_address, web_port, web_token) as panel,
        pipeline.connect(
            port,
            project=booted,
            bundle=read_bundle(bundle) if bundle else None,
            survives=not stop,
            may_save=options.start and options.train,
        ) as device,
    ):
        if stop:
            check_sensor(device)
            device.set_sensor(run=False)
            click.echo("the sensor is stopped")
            return
        summary = pipeline.monitor(
            device,
            options,
            runs=runs,
            bundle=bundle,
            project=booted,
            port=port,
            command=command_line(),
            view=choose_view(),
            panel=panel,
        )
        warn_unsaved(["--autosave-steps"] if autosave_steps else [], device.info, summary)
