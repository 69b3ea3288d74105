"""What goes wrong in a template, as one line: it is no Jinja, it refuses a conversation, or it stumbles over one."""

from collections.abc import Iterator
from contextlib import contextmanager

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from lmkit.data.chat_templates.dialect import MarksLost
from lmkit.errors import UserError


@contextmanager
def told(name: str) -> Iterator[None]:
    """Runs or compiles a template; whatever that raises becomes a `UserError`.

    Args:
        name: what to call the template.
    """
    try:
        yield
    except TemplateSyntaxError as error:
        line = f"line {error.lineno}: {_one_line(error.message)}"
        raise UserError(f"{name} does not compile ({line}): correct it there") from error
    except SyntaxError as error:  # of the Python that Jinja makes, whose lines nobody has written
        raise UserError(
            f"{name} does not compile ({error.msg}): let no break or continue leave a generation block"
        ) from error
    except MarksLost as error:
        raise UserError(f"{name} does not tell what the assistant says ({error}): write that unchanged") from error
    except Exception as error:
        refused = type(error) is TemplateError  # by `raise_exception`, with a message of the template's author
        what = "refuses" if refused else "cannot write"
        said = _one_line(error) if refused else f"{type(error).__name__}: {_one_line(error)}"
        remedy = "change the conversation" if refused else "correct the template, or the conversation"
        raise UserError(f"{name} {what} the conversation (line {_line(error)}: {said}): {remedy}") from error


def _line(error: BaseException) -> int:
    """The line of the template in which an error was met; 1 where Jinja does not know."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _one_line(said: object) -> str:
    return " ".join(str(said).split())
