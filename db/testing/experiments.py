"""Names, references, listing, deletion."""

from __future__ import annotations

import pytest

from ...errors import StoreError
from ..records import RETRAINED, NewExperiment
from ..store import Store
from .samples import Fixtures, count_rows, experiment, fill, trial


class ExperimentChecks(Fixtures):
    """Names, references, listing, deletion."""

    def test_what_was_given_comes_back(self, store: Store) -> None:
        parent = store.create_experiment(experiment("parent"))
        given = experiment(
            "all-of-it",
            kind="baseline",
            parent=parent.id,
            group="seeds",
            tags=("a", "ü"),
            versions={"torch": "2"},
            info={"size": 10**30, "nested": [{"x": None}]},
            seed=2**63 - 1,
        )
        record = store.create_experiment(given)
        for name in NewExperiment.__dataclass_fields__:
            assert getattr(record, name) == getattr(given, name), name
        assert (record.status, record.counts, record.summary) == ("running", {}, {})
        assert record.created_at.utcoffset() is not None
        assert record.finished_at is None
        assert store.experiment(record.id) == record

    def test_a_taken_name_is_counted_on(self, store: Store) -> None:
        names = [store.create_experiment(experiment(n)).name for n in ("a_b", "axb", "a_b", "a_b")]
        assert names == ["a_b", "axb", "a_b-2", "a_b-3"]

    def test_a_reference_is_a_name_an_id_or_a_unique_prefix(self, store: Store) -> None:
        first = store.create_experiment(experiment("digits"))
        second = store.create_experiment(experiment("digits-2"))
        assert store.experiment("digits").id == first.id  # a whole name beats a prefix
        assert store.experiment(second.id).id == second.id
        assert store.experiment("digits-").id == second.id
        with pytest.raises(StoreError, match=r"'dig', which fits digits \(\w+\), digits-2"):
            store.experiment("dig")
        with pytest.raises(StoreError, match="'digts'; did you mean digits"):
            store.experiment("digts")
        with pytest.raises(StoreError, match="unique prefix, got ''"):
            store.experiment("")

    def test_a_reference_into_an_empty_store_says_so(self, store: Store) -> None:
        with pytest.raises(StoreError, match="holds no experiment yet, got 'x'"):
            store.experiment("x")

    def test_a_baseline_stays_in_the_background(self, store: Store) -> None:
        search = store.create_experiment(experiment("search", group="g"))
        baseline = store.create_experiment(
            experiment("search-baseline", kind="baseline", parent=search.id)
        )
        other = store.create_experiment(experiment("other"))
        assert [e.id for e in store.experiments()] == [search.id, other.id]
        assert [e.id for e in store.experiments(all=True)] == [search.id, baseline.id, other.id]
        assert [e.id for e in store.experiments(parent=search.id)] == [baseline.id]
        assert [e.id for e in store.experiments(group="g")] == [search.id]
        assert store.experiment("sea").id == search.id
        assert store.experiment("search-b").parent == search.id

    def test_an_unknown_parent_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match=r"a parent is the id .* got 'nobody'"):
            store.create_experiment(experiment(parent="nobody"))
        assert store.experiments(all=True) == []

    @pytest.mark.parametrize(
        "name", ["'; DROP TABLE trials; --", "名前 ☃ é", "50%_\\", "../../etc/passwd", "x" * 200]
    )
    def test_any_name_that_prints_is_a_name(self, store: Store, name: str) -> None:
        record = store.create_experiment(experiment(name))
        assert store.create_experiment(experiment(name)).name == f"{name}-2"
        assert store.experiment(name).id == record.id

    @pytest.mark.parametrize(
        "name", ["", " ", " a", "a\nb", "a\0b", "\ud800", "\x1b[31mred", "x" * 201]
    )
    def test_a_name_that_does_not_print_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError, match=r"an experiment's name is .* choose another name"):
            store.create_experiment(experiment(name))

    def test_an_update_replaces_what_is_given(self, store: Store, exp: str) -> None:
        store.update_experiment(exp, status="done", elapsed_s=2.5, summary={"front": [1]})
        record = store.experiment(exp)
        assert (record.status, record.elapsed_s, record.summary) == ("done", 2.5, {"front": [1]})
        assert record.finished_at is not None
        store.update_experiment(exp, status="running", spec={"a": 1}, info={})
        record = store.experiment(exp)
        assert (record.status, record.finished_at) == ("running", None)
        assert (record.spec, record.info, record.summary) == ({"a": 1}, {}, {"front": [1]})

    def test_labels_change_and_viewers_learn_of_it(self, store: Store, exp: str) -> None:
        other = store.create_experiment(experiment("other", tags=("b",))).id
        before = store.revision()
        store.tag_experiment(other, add=["c", "a", "c"], remove=["b", "z"])
        store.archive_experiment(other)
        assert store.experiment(other).tags == ("c", "a", "archived")
        assert store.experiment(other).archived
        store.archive_experiment(other, archived=False)
        store.rename_experiment(other, "名前")
        record = store.experiment("名前")
        assert (record.id, record.tags, record.archived) == (other, ("c", "a"), False)
        assert store.revision() >= before + 4
        with pytest.raises(StoreError, match="which another one has; choose another"):
            store.rename_experiment(other, store.experiment(exp).name)
        with pytest.raises(StoreError, match="use netloom archive"):
            store.tag_experiment(other, remove=["archived"])

    def test_deleting_takes_everything_along(self, store: Store, exp: str) -> None:
        child = store.create_experiment(experiment("child", kind="baseline", parent=exp)).id
        kept = store.create_experiment(experiment("kept")).id
        for id in (exp, child, kept):
            fill(store, id)
        store.delete_experiment(exp)
        assert [e.id for e in store.experiments(all=True)] == [kept]
        report = store.gc()
        assert (report.architectures, report.files) == (0, 0)  # the third still has them
        store.delete_experiment(kept)
        report = store.gc()
        assert (report.architectures, report.files, report.bytes) == (2, 1, 7)
        assert not any(path.is_file() for path in store.files.folder.rglob("*"))
        assert {name: n for name, n in count_rows(store).items() if n} == {
            "spaces": 1,
            "revisions": 1,
        }
        with pytest.raises(StoreError, match="must exist before it is used"):
            store.trial_records(exp)

    def test_what_was_trained_again_outlives_its_search(self, store: Store, exp: str) -> None:
        again = store.create_experiment(experiment("again", kind=RETRAINED, parent=exp)).id
        store.create_experiment(experiment("random", kind="baseline", parent=exp))
        fill(store, again)
        store.delete_experiment(exp)
        [left] = store.experiments(all=True)
        assert (left.id, left.parent, left.kind) == (again, None, RETRAINED)
        assert len(store.trial_records(again)) > 0

    def test_a_deleted_experiment_is_not_written_to(self, store: Store, exp: str) -> None:
        fill(store, exp)
        with Store(store.url) as other:
            other.delete_experiment(exp)
        with pytest.raises(StoreError, match="deleted meanwhile"), store.transaction() as tx:
            tx.add_trials(exp, [trial(9)])

    def test_values_that_are_not_json_are_refused(self, store: Store, exp: str) -> None:
        with pytest.raises(StoreError, match="takes JSON values only"):
            store.update_experiment(exp, summary={"x": object()})
        with pytest.raises(StoreError, match="a seed has at most 63 bits"):
            store.create_experiment(experiment(seed=2**63))
