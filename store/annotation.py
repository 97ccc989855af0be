"""The tables of annotation, and the rules that the database itself keeps: see `_RULES`. Times are Unix seconds.

They lie in a database of their own in the workspace (a commit of the record holds the ledger's write lock for seconds,
and annotators may not wait for it), or with the ledger on PostgreSQL.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()
_P = "annotation_"

ROLES = ("annotator", "reviewer", "designer", "administrator")
LIVE = ("leased", "answered")
COUNTED = ("label", "repeat")
PURPOSES = (*COUNTED, "gold", "train", "exam", "review")

REASONS = ("gone", "unplayable", "disturbing", "other")
"""Why an item is given back; the first is ours, where its media are found to be gone."""


def _one_of(column: str, allowed: tuple[str, ...]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(a) for a in allowed)})")


def _id() -> sa.Column:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _text(name: str, **told: Any) -> sa.Column:
    return sa.Column(name, sa.Text, **{"nullable": False, **told})


def _number(name: str, **told: Any) -> sa.Column:
    return sa.Column(name, sa.BigInteger, **{"nullable": False, **told})


def _time(name: str, **told: Any) -> sa.Column:
    return sa.Column(name, sa.Float, **{"nullable": False, **told})


def _of(table: str, *, name: str = "", **told: Any) -> sa.Column:
    key = name or {"people": "person_id", "batches": "batch_id"}.get(table, f"{table.removesuffix('s')}_id")
    return sa.Column(key, sa.Integer, sa.ForeignKey(f"{_P}{table}.id"), **{"nullable": False, **told})


regions = sa.Table(
    f"{_P}regions", metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _text("currency"),
    _number("hourly_floor_minor"),  # minor units of the currency for an hour of active time
    sa.Column("rate", sa.Float, nullable=False),  # minor units of the currency for one of a batch's price
    _text("media_host"),  # where browsers of the region fetch clips; empty: from the app itself
    sa.CheckConstraint("hourly_floor_minor >= 0 AND rate > 0"),
)  # fmt: skip
region_terms = sa.Table(
    f"{_P}region_terms", metadata,
    _id(),
    sa.Column("region", sa.Text, sa.ForeignKey(f"{_P}regions.name"), nullable=False, index=True),
    _time("valid_from"),  # 0 of a region's first
    _text("currency"),
    _number("hourly_floor_minor"),
    sa.Column("rate", sa.Float, nullable=False),
    sa.CheckConstraint("hourly_floor_minor >= 0 AND rate > 0"),
)  # fmt: skip
"""What a region's people are paid by, from when on: of the lines that began, the one written last. `regions` has what was said
last."""
people = sa.Table(
    f"{_P}people", metadata,
    _id(),
    _text("login", unique=True),
    _text("password_hash"),
    _text("role"),
    sa.Column("region", sa.Text, sa.ForeignKey(f"{_P}regions.name"), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("quality", sa.Float),  # Wilson lower bound of agreement with audits; NULL under 40 of them
    _time("created_at"),
    _one_of("role", ROLES),
)  # fmt: skip
sessions = sa.Table(
    f"{_P}sessions", metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    _of("people", index=True),
    _text("csrf"),
    _time("created_at"),
    _time("rotated_at"),
    _time("expires_at"),
)  # fmt: skip
invitations = sa.Table(
    f"{_P}invitations", metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    _text("role"),
    sa.Column("region", sa.Text, sa.ForeignKey(f"{_P}regions.name"), nullable=False),
    _time("expires_at"),
    _of("people", name="used_by", nullable=True),
    _one_of("role", ROLES),
)  # fmt: skip
resets = sa.Table(
    f"{_P}resets", metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True), _of("people", index=True), _time("expires_at"),
)  # fmt: skip
"""Links that let a person choose a password anew; one that is used or replaced is gone."""
failures = sa.Table(f"{_P}failures", metadata, _id(), _text("what", index=True), _time("at"))  # of signing in
audit_log = sa.Table(
    f"{_P}audit_log", metadata,
    _id(), _time("at"), _of("people", nullable=True), _text("action"), _text("object"), _text("detail"),
)  # fmt: skip
schemas = sa.Table(
    f"{_P}schemas", metadata,
    _id(), _text("name"), _number("version"), _text("task_type"), _text("body"), _text("guidelines"),
    _number("num_training"), _number("num_exam"), _time("created_at"),
    sa.UniqueConstraint("name", "version"),
)  # fmt: skip
acknowledgements = sa.Table(
    f"{_P}acknowledgements", metadata,
    _of("people", primary_key=True), _of("schemas", primary_key=True), _time("at"),
)  # fmt: skip
batches = sa.Table(
    f"{_P}batches", metadata,
    _id(),
    _text("name", unique=True),
    _of("schemas"),
    _text("goal"),  # work: labels; gold: reviewers' answers become gold
    _text("state"),
    _text("source"),  # the tier or query that its clips came from
    _number("priority"),
    _number("price_milli"),  # thousandths of a minor unit of the reference currency, per accepted answer
    _number("budget_milli"),
    _number("num_reserved", default=0),
    _time("opens_at"),
    sa.Column("head_start_s", sa.Float, nullable=False),  # for the top quartile by audits
    _one_of("goal", ("work", "gold")),
    _one_of("state", ("open", "paused", "closed")),
    sa.CheckConstraint("price_milli >= 0 AND num_reserved >= 0 AND num_reserved * price_milli <= budget_milli"),
)  # fmt: skip
items = sa.Table(
    f"{_P}items", metadata,
    _id(),
    _of("batches"),
    _of("schemas"),
    _text("kind"),
    _text("state"),
    sa.Column("uncertainty", sa.Float, nullable=False),
    _number("num_wanted"),
    _number("max_raters"),
    _number("num_taken", default=0),
    _text("media"),  # JSON: one or two of video_id, clip_id, start_frame, end_frame, proxy_uri
    _text("truth", nullable=True),  # JSON: of gold
    _of("items", name="repeat_of", nullable=True),
    _of("people", name="for_person", nullable=True),
    sa.Column("audited", sa.Boolean, nullable=False),
    _one_of("kind", ("work", "gold", "repeat")),
    _one_of("state", ("open", "review", "done", "retired")),
    sa.CheckConstraint("0 <= num_taken AND num_taken <= num_wanted AND num_wanted <= max_raters"),
    sa.Index(f"{_P}queue", "state", "batch_id", "uncertainty"),
    sa.Index(f"{_P}gold", "schema_id", "kind", "state"),
)  # fmt: skip
next_items = sa.Index(
    f"{_P}next", items.c.batch_id, items.c.kind, items.c.state, items.c.uncertainty.desc(), items.c.id
)
"""Tells the next item of a batch without sorting the others."""
repeats = sa.Index(f"{_P}repeats", items.c.for_person, items.c.repeat_of)
assignments = sa.Table(
    f"{_P}assignments", metadata,
    _id(),
    _text("token", unique=True),  # its only name in addresses
    _of("items"),
    _of("people"),
    _of("batches", nullable=True),  # that pays for it
    _text("purpose"),
    _number("round"),  # of calibration; 0 outside of it
    _text("state"),
    sa.Column("swapped", sa.Boolean, nullable=False),
    _time("leased_at"),
    _time("expires_at"),
    _time("submitted_at", nullable=True),
    _text("submit_key", nullable=True),
    _text("value", nullable=True),  # JSON, in the item's own order of sides
    sa.Column("active_s", sa.Float),
    sa.Column("accepted", sa.Boolean),
    sa.UniqueConstraint("item_id", "person_id", "round"),
    _one_of("purpose", PURPOSES),
    _one_of("state", (*LIVE, "expired", "late")),
    sa.CheckConstraint("(state IN ('answered', 'late')) = (value IS NOT NULL)"),
    sa.Index(f"{_P}one_review", "item_id", unique=True,
             sqlite_where=sa.text("purpose = 'review' AND state IN ('leased', 'answered')"),
             postgresql_where=sa.text("purpose = 'review' AND state IN ('leased', 'answered')")),
    sa.Index(f"{_P}of_person", "person_id", "state"),
    sa.Index(f"{_P}leases", "state", "expires_at"),
)  # fmt: skip
sent = sa.Index(f"{_P}sent", assignments.c.person_id, assignments.c.submitted_at)
LATER_INDEXES = (next_items, repeats, sent)
"""That a database of an earlier version lacks."""
set_aside = sa.Table(
    f"{_P}set_aside", metadata, _of("assignments", primary_key=True), _text("why"), _time("at"),
)  # fmt: skip
"""Answers that count no more, since whoever gave them was paused: their places on items are free again. They stay paid."""
STANDS = ~sa.select(set_aside.c.at).where(set_aside.c.assignment_id == assignments.c.id).exists()
"""Of an answer: it was not set aside."""
reports = sa.Table(
    f"{_P}reports", metadata,
    _of("assignments", primary_key=True), _text("reason"), _text("told"), _time("at"),
    _one_of("reason", REASONS),
)  # fmt: skip
"""Items that a rater gave back without an answer, and why; `told` is what the rater wrote."""
unshown = sa.Table(f"{_P}unshown", metadata, _of("items", primary_key=True), _time("at"))
"""Items that nobody gets, since their media are gone; a row goes when they are back."""
SHOWN = ~sa.select(unshown.c.at).where(unshown.c.item_id == items.c.id).exists()
"""Of an item: its media are there, as far as anybody found."""
qualifications = sa.Table(
    f"{_P}qualifications", metadata,
    _of("people", primary_key=True), _of("schemas", primary_key=True),
    _text("stage"), _number("round"), _number("failures"), _text("why"), _time("changed_at"),
    _one_of("stage", ("training", "exam", "qualified", "banned")),
)  # fmt: skip
scores = sa.Table(
    f"{_P}scores", metadata,
    _of("assignments", primary_key=True), _of("people"), _of("schemas"),
    _text("kind"), sa.Column("score", sa.Float, nullable=False), _text("by_question"), _time("at"),
    _one_of("kind", ("train", "exam", "gold", "audit", "repeat")),
    sa.Index(f"{_P}scores_of", "person_id", "schema_id", "kind"),
)  # fmt: skip
labels = sa.Table(
    f"{_P}labels", metadata,
    _of("items", primary_key=True), _of("schemas"), _text("value"), _text("how"), _number("num_answers"), _time("at"),
    _one_of("how", ("consensus", "adjudicated")),
)  # fmt: skip
outbox = sa.Table(
    f"{_P}outbox", metadata,
    _of("items", primary_key=True),
    _text("uid", unique=True),  # of the item in the record: another database's items are others
    _number("version"),  # rises with each change of the item's label
    _time("at"),
)  # fmt: skip
"""Written in the transaction that decides a label. What of it the record holds is told by the record alone."""
ledger = sa.Table(
    f"{_P}ledger", metadata,
    _id(), _of("people"), _text("period"), _text("kind"), _number("amount_minor"), _text("currency"), _text("why"),
    _time("at"),
    _number("line"),
    sa.UniqueConstraint("person_id", "period", "line"),
)  # fmt: skip

NEVER_CHANGED = (audit_log, schemas, ledger, set_aside, region_terms, reports)

_COUNTS = {
    "claimed": ("INSERT", "NEW.state IN ('leased', 'answered')", "+ 1"),
    "revived": ("UPDATE", "OLD.state NOT IN ('leased', 'answered') AND NEW.state IN ('leased', 'answered')", "+ 1"),
    "lapsed": ("UPDATE", "OLD.state IN ('leased', 'answered') AND NEW.state NOT IN ('leased', 'answered')", "- 1"),
}
"""Places taken of an item and of its batch's budget follow its assignments; their CHECKs refuse one too many."""

_FINAL = (
    "OLD.value IS NOT NULL AND (NEW.value <> OLD.value OR NEW.state <> OLD.state OR NEW.person_id <> OLD.person_id "
    "OR NEW.item_id <> OLD.item_id OR NEW.active_s <> OLD.active_s OR NEW.submitted_at <> OLD.submitted_at)"
)


def _counting(change: str) -> str:
    return (
        f"UPDATE {_P}items SET num_taken = num_taken {change} WHERE id = NEW.item_id AND NEW.purpose IN ('label', 'repeat'); "
        f"UPDATE {_P}batches SET num_reserved = num_reserved {change} WHERE id = NEW.batch_id;"
    )


_FREED = (
    f"UPDATE {_P}items SET num_taken = num_taken - 1 WHERE id = (SELECT item_id FROM {_P}assignments "
    "WHERE id = NEW.assignment_id AND purpose IN ('label', 'repeat') AND state = 'answered');"
)


def _sqlite_rules() -> list[tuple[str, str]]:
    of_answers, made = assignments.name, []
    for name, (event, when, change) in _COUNTS.items():
        rule = f"AFTER {event} ON {of_answers} WHEN {when} BEGIN {_counting(change)} END"
        made.append((of_answers, f"CREATE TRIGGER {_P}{name} {rule}"))
    for table in NEVER_CHANGED:
        for event in ("UPDATE", "DELETE"):
            rule = f"BEFORE {event} ON {table.name} BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
            made.append((table.name, f"CREATE TRIGGER {table.name}_no_{event.lower()} {rule}"))
    told = "SELECT RAISE(ABORT, 'an answer never changes');"
    rule = f"BEFORE UPDATE ON {of_answers} WHEN {_FINAL} BEGIN {told} END"
    made.append((of_answers, f"CREATE TRIGGER {_P}final {rule}"))
    freed = f"AFTER INSERT ON {set_aside.name} BEGIN {_FREED} END"
    return [*made, (set_aside.name, f"CREATE TRIGGER {_P}freed {freed}")]


def _postgresql_rules() -> list[tuple[str, str]]:
    """A function may be made again; a trigger is made with its table."""
    of_answers, made = assignments.name, []
    for name, (event, when, change) in _COUNTS.items():
        made.append(("", _function(name, _counting(change))))
        made.append((of_answers, _trigger(name, f"AFTER {event} ON {of_answers}", name, when)))
    made.append(("", _function("append_only", "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;")))
    for table in NEVER_CHANGED:
        event = f"BEFORE UPDATE OR DELETE ON {table.name}"
        made.append((table.name, _trigger(f"{table.name}_kept", event, "append_only")))
    made.append(("", _function("final", "RAISE EXCEPTION 'an answer never changes';")))
    made.append((of_answers, _trigger("final", f"BEFORE UPDATE ON {of_answers}", "final", _FINAL)))
    made.append(("", _function("freed", _FREED)))
    return [*made, (set_aside.name, _trigger("freed", f"AFTER INSERT ON {set_aside.name}", "freed"))]


def _function(name: str, body: str) -> str:
    head = f"CREATE OR REPLACE FUNCTION {_P}{name}() RETURNS trigger LANGUAGE plpgsql"
    return f"{head} AS $$ BEGIN {body} RETURN NEW; END $$"


def _trigger(name: str, event: str, function: str, when: str = "TRUE") -> str:
    return f"CREATE TRIGGER {_P}on_{name} {event} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {_P}{function}()"


RULES = {"sqlite": _sqlite_rules, "postgresql": _postgresql_rules}
"""By database: (table that the rule is made with, the statement that makes it)."""
