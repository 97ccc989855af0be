"""What a form is told of one of its entries."""

from __future__ import annotations


class Unfit(ValueError):  # noqa: N818 - the answer is no; nothing went wrong
    """An entry that is refused: `field` names it, as the form does, so that the reason is shown beside it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field
