"""Data URLs: how OpenAI's formats hold the bytes of a picture or a file."""

from interlock.errors import LocalError


def is_data_url(url: str) -> bool:
    """Whether the URL is its own content."""
    return url[:5].lower() == "data:"


def data_url(media_type: str, data: str) -> str:
    """The URL of base64 data."""
    return f"data:{media_type};base64,{data}"


def read_data_url(url: str, path: str) -> tuple[str, str]:
    """(media type, base64 data), the data unread.

    Raises: LocalError: it names no media type, or is not in base64.
    """
    header, _, data = url[5:].partition(",")
    media_type, *parameters = header.split(";")
    if not is_data_url(url) or not media_type or "base64" not in parameters[-1:]:
        raise LocalError(f"{path}: a data URL must read data:MEDIA-TYPE;base64,…", field=path)
    return media_type, data
