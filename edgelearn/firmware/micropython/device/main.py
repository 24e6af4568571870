# Runs at every start: the model answers a host on the line of the REPL, to which `edgelearn stream --port PORT` speaks.
#
# Ctrl-C from a terminal, or any tool such as mpremote, ends it and gets the REPL; Ctrl-D there starts it again.
import micropython

# A host may be talking already, and Ctrl-C is one of its bytes: nobody else may come first.
keeps_bytes = True
while True:
    try:
        micropython.kbd_intr(-1)
        # One that came before is raised by the next jump: here.
        for _ in (0, 0):
            pass
    except KeyboardInterrupt:
        continue
    except AttributeError:
        keeps_bytes = False
    break


def open_link():
    # A line of its own instead, with what its buffer takes while the device computes:
    #     stream, receive_bytes = machine.UART(1, 115200, rxbuf=1024), 1024
    stream, receive_bytes = None, None
    if lacks("array", "select", "struct", "time"):
        return None
    try:
        import model
        from model.link import Link

        return Link(model.load(), stream, receive_bytes)
    except (ImportError, OSError, ValueError, MemoryError, SyntaxError, AttributeError) as error:
        print("The model on this board cannot be loaded:", str(error) or type(error).__name__)
        if isinstance(error, MemoryError):
            print("The heap is too small for it beside what else runs here; `edgelearn generate` says what it needs.")
        else:
            print("Put it there again with `edgelearn flash`.")


# Small firmwares leave modules out.
def lacks(*names):
    for name in names:
        try:
            __import__(name)
        except ImportError:
            say_missing(name)
            return True
    return False


def say_missing(name):
    print("MicroPython on this board has no `%s`, without which no host can speak to the model." % name)
    print("Install a firmware of it that has that.")


if keeps_bytes:
    link = open_link()
    if link:
        link.run()
    else:
        micropython.kbd_intr(3)
else:
    say_missing("micropython.kbd_intr")
