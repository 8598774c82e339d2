//! The components of each step's key, as `docs/architecture.md` lists them.
//!
//! Every value stands under its own label, so that a miss can name it. What must not decide (secret
//! values, proxies) is not handed in.

use crate::copy::select::Matching;
use crate::key::{Component, Value};
use crate::plan::{Base, CopyStep, RunStep, WorkdirStep};
use crate::snapshot::{Found, LookupError, Snapshot, Type};
use crate::tree::{Tree, TreePath};
use kiln_dsl::mount::{MountKind, Sharing};

/// The key's part that says which layers are below.
pub fn parent(snapshot: &Snapshot) -> Component {
    Component { label: "parent".to_owned(), value: Value::Stack(snapshot.stack().clone()) }
}

/// What a FROM stands on.
pub fn base(base: &Base, snapshot: &Snapshot) -> Vec<Component> {
    let image = match base {
        Base::Scratch => "scratch".to_owned(),
        Base::Host => "the host's files".to_owned(),
        Base::Image { key, .. } => key.to_string(),
    };
    vec![Component::text("the image", image), parent(snapshot)]
}

/// A list of texts as one, no two lists alike.
fn list<T: std::fmt::Debug>(items: &[T]) -> String {
    format!("{items:?}")
}

/// What every RUN depends on, whatever its key says.
pub fn run(step: &RunStep, offline: bool) -> Vec<Component> {
    let mut all = vec![Component::text("the command", list(&step.argv))];
    if let Some((name, content)) = &step.script {
        all.push(Component::text(format!("the script {name}"), content.clone()));
    }
    all.push(Component::text("the working directory", step.workdir.clone()));
    all.push(Component::text("the user", step.user.clone()));
    all.extend(step.hostname.iter().map(|name| Component::text("the host name", name.clone())));
    all.push(Component::text("the platform", step.platform.to_string()));
    all.push(Component::text("the network", if offline { "none" } else { "host" }));
    all.push(Component::text("the security mode", if step.insecure { "insecure" } else { "sandbox" }));
    for mount in &step.mounts {
        let mut told = mount.mount.clone();
        // Which cache is meant and who else uses it is no property of the result; where it appears is.
        told.id = told.id.filter(|_| told.kind != MountKind::Cache);
        told.sharing = Sharing::default();
        all.push(Component::text(format!("the mount {}", mount.target), told.to_string()));
    }
    all
}

/// The variables that a RUN sees.
pub fn environment(step: &RunStep) -> Vec<Component> {
    let variable = |(name, value): &(String, String)| {
        let kind = if step.args.contains(name) { "ARG" } else { "ENV" };
        Component::variable(kind, name, value)
    };
    step.env.iter().map(variable).collect()
}

/// The files that a mount from the context shows.
pub fn mounted(target: &str, tree: &Tree) -> Component {
    files(&mounted_files_label(target), tree)
}

/// What the files are called that a mount from the context shows.
pub fn mounted_files_label(target: &str) -> String {
    format!("files of the mount {target}")
}

/// The layers that a mount from another stage or an image shows.
pub fn mounted_layers(target: &str, snapshot: &Snapshot) -> Component {
    Component { label: mounted_layers_label(target), ..parent(snapshot) }
}

/// What the layers are called that a mount from another stage or an image shows.
pub fn mounted_layers_label(target: &str) -> String {
    format!("layers of the mount {target}")
}

/// Whether a component is what a mount at this target shows.
pub fn is_of_mount(label: &str, target: &str) -> bool {
    label == mounted_files_label(target) || label == mounted_layers_label(target)
}

/// Files as a component.
pub fn files(label: &str, tree: &Tree) -> Component {
    Component { label: label.to_owned(), value: Value::Files { tree: tree.id(), count: tree.len() as u64 } }
}

/// What a COPY or ADD depends on. `owner` is `--chown` looked up, `state` what the destination is.
pub fn copy(step: &CopyStep, selected: Component, owner: Option<(u32, u32)>, state: String) -> Vec<Component> {
    let sources: Vec<&str> = step.sources.iter().map(|(path, _)| path.as_str()).collect();
    let mut all = vec![
        Component::text("the sources", list(&sources)),
        Component::text("the destination", step.destination.clone()),
        Component::text("--chown", owner.map_or_else(String::new, |(uid, gid)| format!("{uid}:{gid}"))),
        Component::text("--chmod", step.chmod.as_ref().map_or_else(String::new, ToString::to_string)),
        Component::text("--exclude", list(&step.excludes)),
        Component::text("whether archives are unpacked", step.unpack.to_string()),
        selected,
    ];
    if step.matching == Matching::Parents {
        all.push(Component::text("--parents", "true"));
    }
    for (name, content) in &step.inline {
        all.push(Component::text(format!("the heredoc {name}"), content.clone()));
    }
    all.push(Component::text("the state of the destination", state));
    all
}

/// What a WORKDIR depends on.
pub fn workdir(step: &WorkdirStep, owner: (u32, u32), state: String) -> Vec<Component> {
    vec![
        Component::text("the path", step.path.clone()),
        Component::text("the owner", format!("{}:{}", owner.0, owner.1)),
        Component::text("the state of the directories above", state),
    ]
}

/// All of a destination that shows in a layer: the directories above it with their metadata, where
/// it really is, and what it is.
pub fn destination_state(snapshot: &Snapshot, path: &TreePath, follow: bool) -> Result<String, LookupError> {
    let real = if follow { snapshot.resolve(path, true)? } else { path.clone() };
    let mut text = format!("/{}", real.display());
    for dir in real.ancestors().iter().chain([&real]).filter(|dir| !dir.is_root()) {
        match snapshot.lookup(dir)? {
            None => {
                text += "; absent";
                break;
            }
            Some(Found { file_type, mode, uid, gid, xattrs, .. }) => {
                let kind = match file_type {
                    Type::Dir => "dir",
                    Type::File => "file",
                    Type::Symlink(_) => "link",
                    Type::Other => "other",
                };
                text += &format!("; {kind} {mode:o} {uid}:{gid} {xattrs:?}");
            }
        }
    }
    Ok(text)
}

/// The directories at and above a destination whose attributes a linked copy repeats.
pub fn directories_state(snapshot: &Snapshot, path: &TreePath) -> Result<String, LookupError> {
    let mut text = String::new();
    for dir in path.ancestors().iter().chain([path]).filter(|dir| !dir.is_root()) {
        match snapshot.lookup(dir)? {
            Some(Found { file_type: Type::Dir, mode, uid, gid, xattrs, .. }) => {
                text += &format!("; dir {mode:o} {uid}:{gid} {xattrs:?}");
            }
            _ => break,
        }
    }
    Ok(text)
}

/// The names below the destination that a copy meets, with their types: what would make it fail.
pub fn collisions(
    snapshot: &Snapshot,
    path: &TreePath,
    names: &mut dyn Iterator<Item = Vec<u8>>,
) -> Result<String, LookupError> {
    let real = snapshot.resolve(path, true)?;
    let mut met: Vec<String> = Vec::new();
    for name in snapshot.names_among(&real, names)? {
        let kind = match snapshot.lookup(&real.join(&name))?.map(|found| found.file_type) {
            Some(Type::Dir) => "dir",
            Some(_) => "other",
            None => continue,
        };
        met.push(format!("{kind} {}", String::from_utf8_lossy(&name)));
    }
    met.sort();
    met.dedup();
    Ok(met.join(", "))
}
