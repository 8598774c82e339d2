//! The layers of snapshots: one row for each snapshot that a build came to, with what it stands on and its topmost layer.
//!
//! Records of steps and of builds name a snapshot by its identity, so that each has one size however deep its stage is.
//! A row goes when nothing that is kept leads to it.

use super::{Store, StoreError};
use crate::digest::{LayerId, SnapshotId};
use crate::key::Value;
use crate::stack::Stack;
use std::collections::HashSet;

impl Store {
    /// The layers of a snapshot, the bottom one first; `None` where they are no longer known.
    pub fn stack(&self, id: SnapshotId) -> Result<Option<Vec<LayerId>>, StoreError> {
        let (mut layers, mut next) = (Vec::new(), id);
        while next != Stack::empty().id() {
            let Some((below, layer)) = self.db().stack(next)? else { return Ok(None) };
            layers.push(layer);
            next = below;
        }
        layers.reverse();
        Ok(Some(layers))
    }

    /// Forgets the snapshots to which no record of a step or a build leads, and of whose layers `in_use` knows nothing.
    pub(crate) fn forget_stacks(&self, in_use: &dyn Fn(&[u8; 32]) -> bool) -> Result<(), StoreError> {
        let all = self.db().stacks()?;
        if all.is_empty() {
            return Ok(());
        }
        let mut kept: HashSet<SnapshotId> = HashSet::new();
        let mut keep = |mut id: SnapshotId| {
            while let Some((below, _)) = all.get(&id) {
                if !kept.insert(id) {
                    break;
                }
                id = *below;
            }
        };
        let of = |value: &Value| match value {
            Value::Stack(stack) => Some(stack.id()),
            _ => None,
        };
        for (_, record) in self.db().records()? {
            record.components.iter().filter_map(|component| of(&component.value)).for_each(&mut keep);
        }
        let mut read = HashSet::new();
        for stored in self.builds()? {
            // Builds in which nothing changed share their steps.
            if self.place_of_steps(&stored).is_some_and(|place| !read.insert(place)) {
                continue;
            }
            let Some((build, keys)) = self.build_with_keys(&stored)? else { continue };
            build.steps.iter().filter_map(|step| step.stack).for_each(&mut keep);
            keys.iter().flatten().filter_map(|component| of(&component.value)).for_each(&mut keep);
        }
        // A build that runs uses the layers of all that it stands on.
        all.iter().filter(|(_, (_, layer))| in_use(layer.as_bytes())).for_each(|(id, _)| keep(*id));
        all.keys().filter(|id| !kept.contains(id)).try_for_each(|id| self.db().remove_stack(*id))?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::BuildId;
    use crate::key::Component;
    use crate::store::Record;

    fn layer(n: u8) -> LayerId {
        LayerId::from_bytes([n; 32])
    }

    #[test]
    fn a_snapshot_is_known_as_long_as_something_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let stacks: Vec<Stack> = (0..=4).map(|n| Stack::of((0..n).map(layer))).collect();
        for pair in stacks.windows(2) {
            store.db().put_stack(pair[1].id(), pair[0].id(), pair[1].top().unwrap()).unwrap();
        }
        let other = Stack::of([9, 8].map(layer));
        store.db().put_stack(other.id(), Stack::of([layer(9)]).id(), layer(8)).unwrap();
        let record = Record {
            components: vec![Component { label: "parent".into(), value: Value::Stack(stacks[2].clone()) }],
            layer: layer(7),
            build: BuildId::from_bytes([0; 6]),
            name: "RUN".into(),
            created_nanos: 0,
            duration_ms: 0,
        };
        let key = crate::digest::KeyId::from_bytes([1; 32]);
        store.db().put_record(crate::digest::StepId::from_bytes([1; 32]), key, &record).unwrap();
        store.flush().unwrap();
        assert_eq!(store.stack(stacks[4].id()).unwrap().unwrap(), [0, 1, 2, 3].map(layer));
        assert_eq!(store.stack(stacks[0].id()).unwrap().unwrap(), []);
        assert_eq!(store.stack(other.id()).unwrap(), None);
        store.forget_stacks(&|digest| *digest == [2; 32]).unwrap();
        assert_eq!(store.stack(stacks[4].id()).unwrap(), None);
        assert_eq!(store.stack(stacks[3].id()).unwrap().unwrap(), [0, 1, 2].map(layer));
        store.forget_stacks(&|_| false).unwrap();
        assert_eq!(store.stack(stacks[3].id()).unwrap(), None);
        assert_eq!(store.stack(stacks[2].id()).unwrap().unwrap(), [0, 1].map(layer));
    }
}
