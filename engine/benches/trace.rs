//! How long it takes to find out that a trace of 20,000 dependencies holds.
//!
//! The trace is read from its kept form and evaluated on a stack in which one layer is another one, with and without the
//! earlier layer's listing. The bound to hold: 5 ms.

use divan::{Bencher, black_box};
use kiln_engine::digest::ContentId;
use kiln_engine::trace::{Observed, Recorder, Seen, Stacked, Trace, View, codec};
use kiln_engine::tree::{Entry, Kind, Mtime, Tree, TreePath};

const FILES: usize = 20_000;
const DIRECTORY: usize = 100;

fn main() {
    divan::main();
}

fn entry(path: String, kind: Kind) -> Entry {
    let path = TreePath::new(path);
    Entry { path, kind, mode: 0o644, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() }
}

fn file(path: String, text: &str) -> Entry {
    entry(path, Kind::File { size: text.len() as u64, content: ContentId::from(blake3::hash(text.as_bytes())) })
}

fn path(number: usize) -> String {
    format!("files/d{:03}/f{number:06}", number / DIRECTORY)
}

/// The files that are read.
fn files() -> Tree {
    let directories = (0..FILES / DIRECTORY).map(|number| format!("files/d{number:03}"));
    let all = std::iter::once("files".to_owned()).chain(directories);
    let directories = all.map(|path| entry(path, Kind::Dir { opaque: false }));
    Tree::new(directories.chain((0..FILES).map(|number| file(path(number), &path(number)))).collect())
}

/// A file that is not read.
fn other(text: &str) -> Tree {
    Tree::new(vec![entry("other".to_owned(), Kind::Dir { opaque: false }), file("other/file".to_owned(), text)])
}

fn view<'a>(trees: [&'a Tree; 2]) -> View<'a> {
    View::new(trees.map(|tree| Stacked::Listed { id: tree.id(), tree }))
}

#[divan::bench(args = [true, false], sample_count = 50)]
fn a_trace_of_20_000_files_holds(bencher: Bencher<'_, '_>, earlier_listing: bool) {
    let (files, before, after) = (files(), other("before"), other("after"));
    let seen = |number| Seen { path: path(number).into_bytes().into(), read: true, listed: false };
    let observed = Observed { seen: (0..FILES).map(seen).collect(), incomplete: None };
    let mut recorder = Recorder::default();
    recorder.observed(&observed);
    let spaces = vec![recorder.finish("", &view([&files, &before]))];
    let kept = codec::encode(&Trace { spaces, ..Trace::default() });
    bencher.bench(|| {
        let trace = codec::decode(black_box(&kept)).expect("what was encoded");
        let new = view([&files, &after]);
        let old = earlier_listing.then(|| view([&files, &before]));
        assert!(trace.spaces[0].first_difference(old.as_ref(), &new).is_none());
    });
}
