//! Each kind of thing is damaged once, found, and removed.

use super::super::testing::Shop;
use super::*;

/// A store with one of everything.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.image("app", &["one", "two"]);
    shop.record("RUN a", "a", "one");
    let bytes = b"a tar";
    std::fs::write(shop.store().blob_path(Sha256::of(bytes)), bytes).unwrap();
    shop
}

/// Checks that `damage` is found as `expected` (the start of each problem), repaired, and then gone.
fn finds(damage: impl FnOnce(&Shop), expected: &[&str]) -> Shop {
    let shop = shop();
    assert_eq!(fsck(shop.path(), false).unwrap().problems, []);
    damage(&shop);
    let shown = |report: &FsckReport| -> Vec<String> {
        report.problems.iter().map(|one| format!("{}: {}", one.name, one.message)).collect()
    };
    let report = fsck(shop.path(), false).unwrap();
    let all = shown(&report);
    assert_eq!(all.len(), expected.len(), "{all:?}");
    for (one, expected) in all.iter().zip(expected) {
        let words: Vec<&str> = expected.split('…').collect();
        assert!(one.starts_with(words[0]) && one.contains(words[1]), "{one} is not {expected}");
    }
    assert!(report.problems.iter().all(|one| !one.repaired));
    let repaired = fsck(shop.path(), true).unwrap();
    assert_eq!(shown(&repaired), all);
    assert!(repaired.problems.iter().all(|one| one.repaired));
    assert_eq!(fsck(shop.path(), false).unwrap().problems, []);
    shop
}

#[test]
fn a_sound_store_has_no_problems_and_everything_is_counted() {
    let report = fsck(shop().path(), false).unwrap();
    assert_eq!(report, FsckReport { images: 1, layers: 2, records: 1, blobs: 1, problems: Vec::new() });
}

#[test]
fn a_file_of_a_layer_with_another_content_is_found_and_all_that_has_it_goes() {
    let shop = finds(
        |shop| std::fs::write(shop.layer_dir(shop.layer("one")).join("one"), "eno").unwrap(),
        &["layer b3:…/one has another content", "record b3:…is damaged ([1/1] RUN a)", "image b3:…is damaged"],
    );
    let store = shop.store();
    assert!(store.db().names().unwrap().is_empty() && store.db().records().unwrap().is_empty());
    drop(store);
    shop.layer("one");
    assert_eq!(fsck(shop.path(), false).unwrap().problems, [], "it is made again");
}

#[test]
fn a_missing_file_a_stray_one_and_another_mode_are_found() {
    let others = ["record b3:…is damaged", "image b3:…is damaged"];
    let with = |first| [&[first][..], &others].concat();
    finds(
        |shop| std::fs::remove_file(shop.layer_dir(shop.layer("one")).join("one")).unwrap(),
        &with("layer…/one is missing"),
    );
    finds(
        |shop| std::fs::write(shop.layer_dir(shop.layer("one")).join("x"), "").unwrap(),
        &with("layer…/x is not in its listing"),
    );
    let chmod = |shop: &Shop| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = shop.layer_dir(shop.layer("one")).join("one");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    finds(chmod, &with("layer…/one has another mode, owner or attribute"));
    finds(|shop| std::fs::remove_dir_all(shop.layer_dir(shop.layer("one"))).unwrap(), &with("layer…is missing"));
}

#[test]
fn a_damaged_or_missing_listing_is_found() {
    let others = ["record b3:…is damaged", "image b3:…is damaged"];
    let with = |first| [&[first][..], &others].concat();
    let listing = |shop: &Shop| shop.path().join("trees").join(shop.layer("one").to_hex());
    finds(|shop| std::fs::remove_file(listing(shop)).unwrap(), &with("layer…its listing is missing"));
    finds(
        |shop| std::fs::write(listing(shop), "kilntre1").unwrap(),
        &with("layer…its listing does not have its digest"),
    );
    let other = |shop: &Shop| {
        let two = shop.layer("two");
        let tree = shop.store().tree(two).unwrap().unwrap();
        std::fs::write(listing(shop), codec::encode(&tree)).unwrap();
    };
    finds(other, &with("layer…its listing does not have its digest"));
    let loose = |shop: &Shop| std::fs::write(shop.path().join("trees").join("ab".repeat(32)), "x").unwrap();
    finds(loose, &["trees/abab…not a tree"]);
}

#[test]
fn a_damaged_blob_is_found() {
    let path = |shop: &Shop| shop.store().blob_path(Sha256::of(b"a tar"));
    let shop = finds(|shop| std::fs::write(path(shop), "a rat").unwrap(), &["blob sha256:…does not have its digest"]);
    assert!(!path(&shop).exists());
}

#[test]
fn what_refers_to_nothing_is_found() {
    let lost_layer = |shop: &Shop| {
        let two = shop.layer("two");
        shop.store().db().remove_layer(two).unwrap();
    };
    finds(lost_layer, &["image b3:…is not in the store"]);
    let lost_image = |shop: &Shop| {
        let store = shop.store();
        let key = store.db().images().unwrap()[0].0;
        store.db().remove_image(key).unwrap();
    };
    finds(lost_image, &["docker.io/library/app:latest…is not in the store"]);
}

#[test]
fn what_a_running_build_uses_is_not_removed_from_under_it() {
    let shop = shop();
    let layer = shop.layer("one");
    std::fs::write(shop.layer_dir(layer).join("one"), "eno").unwrap();
    let build = shop.user_of(&[layer.as_bytes()]);
    let report = fsck(shop.path(), true).unwrap();
    assert!(report.problems[0].message.ends_with("in use by a running build") && !report.problems[0].repaired);
    assert!(shop.layer_dir(layer).exists());
    drop(build);
    assert!(fsck(shop.path(), true).unwrap().problems.iter().all(|one| one.repaired));
}

#[test]
fn a_store_that_is_not_there_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(fsck(&dir.path().join("store"), true).unwrap(), FsckReport::default());
}

#[test]
fn images_for_several_platforms_of_which_one_is_gone_are_found_and_their_names_go() {
    let shop = finds(
        |shop| {
            let store = shop.store();
            let gone = crate::digest::ImageKey::from_bytes([9; 32]);
            let there = store.db().images().unwrap()[0].0;
            let images = vec![("linux/amd64".to_owned(), there), ("linux/arm64".to_owned(), gone)];
            let key = store.db().put_index(&crate::store::IndexRecord { images, created: 1, digest: None }).unwrap();
            store.db().put_name("docker.io/library/both:latest", key).unwrap();
            store.flush().unwrap();
        },
        &["index b3:…for linux/arm64 is not in the store"],
    );
    let names = shop.store().db().names().unwrap();
    assert_eq!(names.len(), 1, "the other image keeps its name: {names:?}");
}
