from importlib.util import find_spec

from alexnet.paths import install_command


def need(*packages: str) -> None:
    """Raise ValueError that says what to install, if one of these packages is missing."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ValueError(
            f"this needs the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}: "
            f"{install_command('export')}"
        )
