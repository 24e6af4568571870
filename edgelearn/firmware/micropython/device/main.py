# Runs at every start: the model answers a host on the line of the REPL, to which `edgelearn stream --port PORT` speaks.
#
# Ctrl-C from a terminal, or any tool such as mpremote, ends it and gets the REPL; Ctrl-D there starts it again.
import micropython

# A host may be talking already, and Ctrl-C is one of its bytes.
try:
    micropython.kbd_intr(-1)
except KeyboardInterrupt:
    micropython.kbd_intr(-1)


def main():
    # A line of its own instead, with what its buffer takes while the device computes:
    #     stream, receive_bytes = machine.UART(1, 115200, rxbuf=1024), 1024
    stream, receive_bytes = None, 256
    try:
        import model
        from model.link import Link

        link = Link(model.load(), stream, receive_bytes)
    except (ImportError, OSError, ValueError, MemoryError, SyntaxError, AttributeError) as error:
        print("The model on this board cannot be loaded:", error or type(error).__name__)
        print("Put it there again with `edgelearn flash`.")
        return
    finally:
        micropython.kbd_intr(3)
    link.run()


main()
