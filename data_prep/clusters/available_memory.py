"""How much memory this process may still take: of the machine, or of its control group."""

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def read_available_bytes(root: Path = _ROOT, proc: Path = Path("/proc")) -> int:
    """Return the least of what the machine has free and what each control group above allows."""
    lines = (proc / "meminfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            names, base = ("memory.max", "memory.current"), root
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes"), root / "memory"
        else:
            continue
        folder = base / name.strip("/")
        for group in (folder, *folder.parents):
            limit, usage = (_read_number(group / file) for file in names)
            if limit is not None and usage is not None:
                cached = _read_cache(group / "memory.stat")
                available = min(available, max(0, limit - usage + cached))
            if group == base:
                break
    return available


def _read_number(path: Path) -> int | None:
    """Return the number in a file; nothing where it is missing or says `max`."""
    if not path.is_file():
        return None
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None


def _read_cache(path: Path) -> int:
    """Return the bytes of files that the kernel gives back when memory is short."""
    if not path.is_file():
        return 0
    fields = dict(line.split() for line in path.read_text().splitlines())
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
