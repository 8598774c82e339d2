//! What goes and what stays, on stores that no build made.

use super::super::testing::Shop;
use super::*;
use crate::digest::LayerId;
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use std::time::Duration;

fn request(shop: &Shop) -> PruneRequest {
    PruneRequest { all: false, older_than: None, keep_storage: None, dry_run: false, store: shop.path().to_path_buf() }
}

fn run(request: &PruneRequest) -> PruneReport {
    prune(request).unwrap()
}

/// What went, as kinds and what they were of.
fn removed(report: &PruneReport) -> Vec<String> {
    report.removed.iter().map(|one| format!("{} of {}", one.kind, one.what)).collect()
}

fn reasons(report: &PruneReport) -> Vec<&str> {
    report.kept.iter().map(|one| one.reason.as_str()).collect()
}

#[test]
fn what_a_step_made_earlier_goes_and_its_newest_result_stays() {
    let shop = Shop::new();
    let old = shop.record("RUN make", "old", "one");
    let new = shop.record("RUN make", "newer", "two");
    let report = run(&request(&shop));
    assert_eq!(removed(&report), ["record of [1/1] RUN make", "layer of [1/1] RUN make"]);
    let two = shop.layer("two");
    let store = shop.store();
    assert!(store.db().record(old).unwrap().is_none() && store.db().record(new).unwrap().is_some());
    assert!(store.layer(two).unwrap().is_some());
    assert!(report.freed > 3 && report.remaining > 0);
    assert_eq!(reasons(&report), ["the next build would use it (--all takes it)"]);
}

#[test]
fn with_all_only_what_named_images_need_stays() {
    let shop = Shop::new();
    shop.image("app", &["one"]);
    shop.image("", &["two"]);
    let record = shop.record("RUN a", "a", "one");
    shop.record("RUN b", "b", "three");
    std::fs::create_dir_all(shop.path().join("caches").join("ab".repeat(32)).join("below")).unwrap();
    let report = run(&PruneRequest { all: true, ..request(&shop) });
    let mut went = removed(&report);
    went.sort();
    assert_eq!(
        went,
        [
            "cache mount of RUN --mount=type=cache",
            "image of an image without a name",
            "layer of [1/1] RUN b",
            "layer of nothing",
            "record of [1/1] RUN b"
        ]
    );
    assert_eq!(reasons(&report), ["needed by app:latest"]);
    let store = shop.store();
    assert!(store.db().record(record).unwrap().is_some(), "it costs nothing: its layer stays anyway");
    assert_eq!(store.db().images().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(shop.path().join("layers")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(shop.path().join("trees")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(shop.path().join("caches")).unwrap().count(), 0);
}

#[test]
fn what_a_running_build_uses_stays_with_all_that_would_go_with_it() {
    let shop = Shop::new();
    let key = shop.record("RUN a", "a", "one");
    let layer = shop.layer("one");
    let build = shop.user_of(&[layer.as_bytes()]);
    let all = PruneRequest { all: true, ..request(&shop) };
    let report = run(&all);
    assert_eq!(report.removed, []);
    assert!(reasons(&report).contains(&"in use by a running build"), "{report:?}");
    assert!(shop.layer_dir(layer).join("one").exists());
    assert!(shop.store().db().record(key).unwrap().is_some());
    drop(build);
    assert_eq!(removed(&run(&all)), ["record of [1/1] RUN a", "layer of [1/1] RUN a"]);
}

#[test]
fn a_result_that_was_pruned_is_a_miss_and_is_made_again() {
    let shop = Shop::new();
    shop.record("RUN a", "a", "one");
    run(&PruneRequest { all: true, ..request(&shop) });
    let layer = layer_id("one");
    assert!(shop.store().layer(layer).unwrap().is_none());
    assert_eq!(shop.layer("one"), layer);
    assert!(shop.store().layer(layer).unwrap().is_some());
}

/// The identity of the shop's layer without making it.
fn layer_id(content: &str) -> LayerId {
    Shop::new().layer(content)
}

#[test]
fn a_limit_of_age_keeps_what_was_of_use_since() {
    let shop = Shop::new();
    shop.record("RUN a", "a", "one");
    let used = shop.record("RUN b", "b", "two");
    let store = shop.store();
    store.db().mark_used(crate::store::Used::Record(used)).unwrap();
    store.flush().unwrap();
    drop(store);
    let week = Some(Duration::from_secs(7 * 24 * 3600));
    let report = run(&PruneRequest { all: true, older_than: week, ..request(&shop) });
    assert_eq!(removed(&report), ["record of [1/1] RUN a", "layer of [1/1] RUN a"]);
    assert_eq!(reasons(&report), ["used within the last day"]);
}

#[test]
fn a_limit_of_size_takes_the_longest_unused_first_and_then_stops() {
    let shop = Shop::new();
    // The age of a record of a shop is the length of its key.
    shop.record("RUN a", "kkk", &"a".repeat(200));
    shop.record("RUN b", "k", &"b".repeat(200));
    shop.record("RUN c", "kk", &"c".repeat(200));
    let total = run(&PruneRequest { dry_run: true, ..request(&shop) }).remaining;
    let report = run(&PruneRequest { all: true, keep_storage: Some(total - 300), ..request(&shop) });
    assert_eq!(
        removed(&report),
        ["record of [1/1] RUN b", "layer of [1/1] RUN b"],
        "one of them is enough: {report:?}"
    );
    assert_eq!(reasons(&report), ["the store is within --keep-storage"]);
}

#[test]
fn a_dry_run_says_the_same_and_takes_nothing() {
    let shop = Shop::new();
    shop.record("RUN a", "a", "one");
    let all = PruneRequest { all: true, ..request(&shop) };
    let said = run(&PruneRequest { dry_run: true, ..all.clone() });
    assert_eq!(shop.store().db().records().unwrap().len(), 1);
    assert_eq!(run(&all), said);
    assert_eq!(run(&all), PruneReport::default());
}

/// A layer that is a difference of one file to `below`, whose files it has too.
fn difference(shop: &Shop, below: &str, content: &str) -> LayerId {
    let below = shop.layer(below);
    let store = shop.store();
    let base = store.tree(below).unwrap().unwrap();
    let mut entry: Entry = base.entries()[0].clone();
    entry.path = TreePath::new(content);
    entry.kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
    entry.mtime = Mtime::default();
    let staged = store.stage().unwrap();
    std::fs::write(staged.path().join(content), content).unwrap();
    let mut entries = base.into_entries();
    entries.push(entry);
    let layer = store.commit_layer(&Tree::new(entries), staged, &[below]).unwrap().id();
    store.flush().unwrap();
    layer
}

#[test]
fn a_directory_that_another_layer_is_a_difference_to_stays_with_it() {
    let shop = Shop::new();
    shop.record("COPY . .", "old", "one");
    let upper = difference(&shop, "one", "two");
    shop.record("COPY . .", "newer", "three");
    let store = shop.store();
    let mut record =
        store.db().records().unwrap().into_iter().find(|(_, it)| it.created_nanos == 5_000_000_000).unwrap();
    record.1.layer = upper;
    store.db().put_record(crate::digest::StepId::from_bytes([1; 32]), record.0, &record.1).unwrap();
    drop(store);
    let report = run(&request(&shop));
    // The records of "old" and the layers "one" and "three" go; the directory of "one" is half of what stays.
    assert_eq!(report.removed.iter().filter(|one| one.kind == "layer").count(), 2, "{report:?}");
    let store = shop.store();
    assert!(store.db().layer(layer_id("one")).unwrap().is_none());
    let layer = store.layer(upper).unwrap().expect("both its directories are there");
    assert_eq!(layer.dirs().len(), 2);
    drop(store);
    let report = run(&PruneRequest { all: true, ..request(&shop) });
    assert_eq!(report.removed.iter().filter(|one| one.kind == "layer").count(), 3, "{report:?}");
    assert_eq!(std::fs::read_dir(shop.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn what_a_kill_left_goes_after_an_hour() {
    let shop = Shop::new();
    let stray = LayerId::from_bytes([9; 32]);
    std::fs::create_dir_all(shop.layer_dir(stray).join("below")).unwrap();
    std::fs::write(shop.path().join("blobs/.layer-x"), "half").unwrap();
    let facts = Facts::read(&shop.store()).unwrap();
    let free = |_: &[u8; 32]| false;
    let soon = decide::decide(&facts, &request(&shop), now(), &free).report(&facts);
    assert_eq!((removed(&soon).len(), reasons(&soon)), (0, vec!["written within the last hour"]));
    let later = decide::decide(&facts, &request(&shop), now() + 7200, &free).report(&facts);
    assert_eq!(removed(&later), ["layer of a build that was killed", "file of a build that was killed"]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let request =
        PruneRequest { all: true, older_than: None, keep_storage: None, dry_run: false, store: store.clone() };
    assert_eq!(run(&request), PruneReport::default());
    assert!(!store.exists());
}

#[test]
fn with_all_each_project_keeps_the_record_of_its_last_build_alone() {
    let shop = Shop::new();
    let builds = shop.path().join("builds");
    for (project, name) in [("p1", "0001-aa"), ("p1", "0003-cc"), ("p1", "0002-bb"), ("p2", "0001-dd")] {
        std::fs::create_dir_all(builds.join(project)).unwrap();
        std::fs::write(builds.join(project).join(name), "record").unwrap();
    }
    assert!(run(&request(&shop)).removed.is_empty());
    let report = run(&PruneRequest { all: true, ..request(&shop) });
    let mut went: Vec<&str> = report.removed.iter().map(|one| one.name.as_str()).collect();
    went.sort_unstable();
    assert_eq!((went, report.freed), (vec!["aa", "bb"], 12));
    assert!(builds.join("p1/0003-cc").exists() && builds.join("p2/0001-dd").exists());
    assert_eq!(reasons(&report), ["the last build of its project, which the next one is compared with"]);
}
