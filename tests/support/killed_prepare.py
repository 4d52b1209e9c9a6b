"""data_prep/prepare.py that dies on the way: `killed_prepare.py EVENT prepare's arguments…`.

It kills itself with SIGKILL just before the EVENTth time that Python opens, makes, renames or
removes something in the folder of `--out`, or starts a program. An EVENT that is not reached lets
it end; the last line of its standard error is then how many there were.
"""

import os
import signal
import sys

from openrinalmo.data_prep.prepare import main

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "subprocess.Popen")


def run() -> None:
    """Listen and prepare."""
    last, arguments = int(sys.argv[1]), sys.argv[2:]
    out = arguments[arguments.index("--out") + 1]
    count = 0

    def listen(event: str, values: tuple[object, ...]) -> None:
        nonlocal count
        if event not in EVENTS:
            return
        if event == "subprocess.Popen" or any(str(value).startswith(out) for value in values):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)
    main(arguments)
    sys.stderr.write(f"\n{count}")


if __name__ == "__main__":
    run()
