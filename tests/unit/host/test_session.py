"""Sessions that survive resets and breaks of the port, and those that cannot."""

from __future__ import annotations

import socket
from collections import deque

import msgspec
import numpy as np
import pytest

from edgelearn.errors import DeviceRefusedError, DeviceResetError, PortError, ResultLostError, WrongModelError
from edgelearn.host import link as link_module
from edgelearn.host.device import open_device
from edgelearn.host.link import Link, LinkOptions
from edgelearn.host.session import Session, expected_inference_s
from edgelearn.host.transport import open_transport
from edgelearn.protocol import Frame, FrameReader, MessageType
from tests.support.fake_device import FakeDevice, Faults, Model

SAVING = Model(can_save=True, label_bytes=16)


def lessons(samples, seed=0, inputs=16):
    rng = np.random.default_rng(seed)
    return [(rng.integers(-128, 128, inputs).astype(np.int8), int(rng.integers(4))) for _ in range(samples)]


def teach(device, samples, seed=0, *, during=lambda number: None):
    """Train with a full window; the steps told, in order."""
    waiting = deque()
    steps = []
    for number, (x, label) in enumerate(lessons(samples, seed)):
        during(number)
        waiting.append(device.submit(x, train=True, label=label))
        while waiting and waiting[0].is_done:
            steps.append(device.result(waiting.popleft()).step)
    return steps + [device.result(pending).step for pending in waiting]


def reference(samples, seed=0):
    """The head without anything that goes wrong."""
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        teach(device, samples, seed)
        return fake.q.copy(), fake.l.copy()


@pytest.mark.parametrize("autosave", [0, 7])
@pytest.mark.parametrize("at", [8, 9, 23, 60])
def test_a_reset_loses_nothing(at, autosave):
    with FakeDevice(SAVING, Faults(reset_after_frames=at)) as fake, open_device(fake.url) as device:
        device.survive()
        device.set_autosave(autosave)
        assert teach(device, 80) == list(range(1, 81))
        assert device.statistics().step == 80
        (event,) = device.session.events
    assert (event.kind, event.boot) == ("reset", 2)
    q, low = reference(80)
    np.testing.assert_array_equal(fake.q, q)
    np.testing.assert_array_equal(fake.l, low)


def test_no_hello_has_the_byte_that_interrupts_a_board_while_it_starts():
    """MicroPython takes 3, Ctrl-C, from the line for whatever it runs before the model's link has it."""
    sent = []
    with FakeDevice(SAVING) as fake:
        transport = open_transport(fake.url)
        write = transport.write
        transport.write = lambda data: (sent.append(data), write(data))
        link = Link(transport)
        session = Session(link)
        for number in (*([None] * 100), 0, 3, 0x0300, 0xFFFF, 0x2_FFFC, 0x3_0000, 0xFF_FFFE, 0x300_0000, 0x7FFF_FFFD):
            for _ in range(3):
                link._next_reading = link._next_reading if number is None else number
                session.open()
                session.ask()
                session.open(earlier=session.number)
                assert session.is_resumed
        transport.close()
    hellos = [data for data in sent for frame in FrameReader().feed(data) if frame.type is MessageType.HELLO]
    assert len(hellos) > 900
    assert not [data for data in hellos if 3 in data]


def test_resets_over_and_over():
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        device.set_autosave(10)

        def during(number):
            if number % 25 == 24:
                fake.boot()

        assert teach(device, 200, during=during) == list(range(1, 201))
        assert [event.kind for event in device.session.events] == ["reset"] * 8
    np.testing.assert_array_equal(fake.q, reference(200)[0])


def test_what_was_learned_before_is_saved_first():
    with FakeDevice(SAVING) as fake:
        with open_device(fake.url) as device:
            teach(device, 5)
        with open_device(fake.url) as device:
            device.survive()
            assert fake.flash["step"] == 5
            fake.boot()
            assert teach(device, 3, 1) == [6, 7, 8]


def test_what_was_learned_before_is_not_saved_unasked_and_then_a_reset_ends_the_session():
    with FakeDevice(SAVING) as fake:
        with open_device(fake.url) as device:
            teach(device, 5)
        with open_device(fake.url) as device:
            device.survive(save=False)
            assert fake.flash is None
            assert device.end_at_reset == ""
            fake.boot()
            with pytest.raises(DeviceResetError) as error:
                teach(device, 3, 1)
    assert "was not saved before this session" in error.value.cause


def test_a_device_that_refuses_to_save_is_taught_all_the_same_until_it_is_reset():
    with FakeDevice(msgspec.structs.replace(SAVING, store_fails=True)) as fake:
        with open_device(fake.url) as device:
            teach(device, 5)
        with open_device(fake.url) as device:
            device.survive()
            assert "so that a reset would end the session: its " in device.end_at_reset
            assert "memory did not take the head" in device.end_at_reset
            assert teach(device, 3, 1) == [6, 7, 8]
            fake.boot()
            with pytest.raises(DeviceResetError):
                teach(device, 1)


def test_a_refused_save_says_how_to_keep_the_head():
    with FakeDevice(msgspec.structs.replace(SAVING, store_fails=True)) as fake, open_device(fake.url) as device:
        with pytest.raises(DeviceRefusedError) as error:
            device.save()
        assert f"`edgelearn head pull --port {fake.url} " in error.value.hint
        assert "emulator cannot write" in error.value.hint


def test_without_flash_all_of_the_session_is_sent_again():
    with FakeDevice(Model()) as fake, open_device(fake.url) as device:
        device.survive()
        rate = device.set_learning_rate(0.02)
        teach(device, 30)
        fake.boot()
        assert teach(device, 2, 1) == [31, 32]
        assert device.info.learning_rate != rate
        assert device.session.events[0].repeated >= 31, "the learning rate is set again too"


def test_without_flash_what_was_there_before_cannot_come_back():
    with FakeDevice(Model()) as fake:
        with open_device(fake.url) as device:
            teach(device, 5)
        with open_device(fake.url) as device:
            device.survive()
            fake.boot()
            with pytest.raises(DeviceResetError, match="was reset"):
                teach(device, 3, 1)


def test_a_head_that_another_host_saved_is_not_taken_for_ours():
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        teach(device, 5)
        fake.session = 99
        fake.save()
        fake.boot()
        with pytest.raises(DeviceResetError, match="not of this session"):
            teach(device, 1)


def test_a_journal_that_grew_too_large_is_said(monkeypatch):
    monkeypatch.setattr(link_module, "MOST_JOURNAL_BYTES", 300)
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        teach(device, 30)
        fake.boot()
        with pytest.raises(DeviceResetError, match="was reset"):
            teach(device, 1)


def test_a_device_that_comes_back_with_another_model_is_refused():
    with FakeDevice(SAVING) as fake, open_device(fake.url, expected_model_hash=SAVING.hash.hex()) as device:
        device.survive()
        teach(device, 3)
        fake.model = Model(hash=b"elsewise", can_save=True)
        fake.boot()
        with pytest.raises(WrongModelError):
            teach(device, 1)


def test_a_result_that_a_reset_swallowed_is_told():
    """Carried out and saved, then the power fails before the reply is out."""
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        device.set_autosave(1)
        send, dropped = fake._send, []

        def fail_once(encoded):
            if not dropped and fake.step == 5:
                dropped.append(encoded)
                fake.save()
                fake.boot()
            else:
                send(encoded)

        fake._send = fail_once
        got = []
        for x, label in lessons(8):
            try:
                got.append(device.train(x, label=label).step)
            except ResultLostError:
                got.append(None)
    assert got == [1, 2, 3, 4, None, 6, 7, 8]
    np.testing.assert_array_equal(fake.q, reference(8)[0])


@pytest.mark.parametrize("at", [8, 21])
def test_a_port_that_breaks_off_is_opened_again(at):
    with FakeDevice(SAVING, Faults(close_after_frames=at)) as fake, open_device(fake.url) as device:
        device.survive(lambda: open_transport(fake.url))
        assert teach(device, 60) == list(range(1, 61))
        assert [event.kind for event in device.session.events] == ["reconnect"]
    np.testing.assert_array_equal(fake.q, reference(60)[0])


def test_a_port_that_breaks_off_while_the_device_is_reset():
    with FakeDevice(SAVING, Faults(close_after_frames=20)) as fake, open_device(fake.url) as device:
        attempts = []

        def reopen():
            attempts.append(1)
            if len(attempts) == 3:
                fake.boot()
            if len(attempts) < 4:
                raise PortError("not there yet")
            return open_transport(fake.url)

        device.survive(reopen)
        assert teach(device, 60) == list(range(1, 61))
        assert [event.kind for event in device.session.events] == ["reset"]
        assert len(attempts) == 4
    np.testing.assert_array_equal(fake.q, reference(60)[0])


class BreaksOffAtHello(FakeDevice):
    """Is reset, and its port breaks off at the first HELLO after that, before or after it has opened the session."""

    def __init__(self, *, is_opened: bool) -> None:
        super().__init__(SAVING, Faults(reset_after_frames=30))
        self._is_opened = is_opened
        self._has_broken_off = False

    def _dispatch(self, frame: Frame) -> None:
        if frame.type is not MessageType.HELLO or self.frames_seen <= 30 or self._has_broken_off:
            super()._dispatch(frame)
            return
        self._has_broken_off = True
        connection, self._connection = self._connection, None
        if self._is_opened:
            super()._dispatch(frame)
        assert connection is not None
        connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("is_opened", [False, True])
@pytest.mark.parametrize("autosave", [0, 7])
def test_a_port_that_breaks_off_while_a_reset_device_is_brought_back(is_opened, autosave):
    with BreaksOffAtHello(is_opened=is_opened) as fake, open_device(fake.url) as device:
        device.survive(lambda: open_transport(fake.url))
        device.set_autosave(autosave)
        assert teach(device, 80) == list(range(1, 81))
        assert [event.kind for event in device.session.events] == ["reset"]
    np.testing.assert_array_equal(fake.q, reference(80)[0])


def test_a_port_that_does_not_come_back_is_said():
    with FakeDevice(SAVING, Faults(close_after_frames=10)) as fake, open_device(fake.url) as device:

        def reopen():
            raise PortError("not there")

        device.survive(reopen, reopen_timeout_s=0.3)
        with pytest.raises(PortError, match="broke off"):
            teach(device, 30)


def test_without_a_way_to_open_it_again_a_broken_port_ends_the_session():
    with FakeDevice(SAVING, Faults(close_after_frames=10)) as fake, open_device(fake.url) as device:
        device.survive()
        with pytest.raises(PortError):
            teach(device, 30)


def test_reads_survive_too():
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        teach(device, 4)
        fake.boot()
        assert device.statistics().step == 4


def test_saving_empties_the_journal():
    with FakeDevice(SAVING) as fake, open_device(fake.url) as device:
        device.survive()
        teach(device, 20)
        device.save()
        fake.boot()
        assert teach(device, 1, 1) == [21]
        assert device.session.events[0].repeated <= 1
        assert device.link.exchange(MessageType.STATISTICS).payload


def test_nobody_gives_up_while_a_large_model_computes_for_the_first_time():
    """What the device says of its model stands for the round trip that was not measured yet."""
    with FakeDevice(Model(multiply_accumulates=420_000_000)) as fake, open_device(fake.url) as device:
        # 16 clocks each, at 168 MHz.
        assert device.link.options.first_timeout_s == 80.0
        assert device.link.options.first_give_up_s == 400.0
    with FakeDevice(Model(multiply_accumulates=1000)) as fake, open_device(fake.url) as device:
        assert device.link.options == LinkOptions()
    assert expected_inference_s(12_500_000, 168_000_000) == pytest.approx(1.19, abs=0.01)
    assert expected_inference_s(1_000_000, 32_768) == 1.0
    assert expected_inference_s(0, 0) == 0
