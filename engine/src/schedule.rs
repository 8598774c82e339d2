//! Which step when: each as soon as its inputs are done, side by side.
//!
//! First everything that needs no work is settled on the calling thread, in order; a build in
//! which nothing changed starts no thread. What is left goes to a rayon pool. A failure stops what
//! depends on it and nothing that already runs; steps not yet begun are dropped. Knows nothing of
//! what a step does.

use crate::graph::{Graph, NodeId};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the scheduler asks of its steps.
pub trait Work<T>: Sync {
    /// What a step needs to be run, as found by [`Work::settle`].
    type Pending: Send;
    /// A step's result, or that it has none.
    type Error: Send;

    /// The step's result if it is known without running it, else what running it needs. All inputs
    /// have results.
    fn settle(&self, id: NodeId, node: &T) -> Result<Option<Self::Pending>, Self::Error>;

    /// Runs a step that is not settled.
    fn run(&self, id: NodeId, node: &T, pending: Self::Pending) -> Result<(), Self::Error>;

    /// Whether the failure of this step ends what does not depend on it too.
    fn stops_others(&self, id: NodeId) -> bool;

    /// Told of each step that was dropped.
    fn dropped(&self, id: NodeId, node: &T);
}

/// How a graph ended: the failures, those that stopped others first; none if everything has its result.
pub fn execute<T: Sync, W: Work<T>>(graph: &Graph<T>, work: &W, jobs: usize) -> Vec<W::Error> {
    let mut settled = vec![false; graph.len()];
    let mut pending: Vec<(NodeId, W::Pending)> = Vec::new();
    for (id, node) in graph.nodes() {
        if !graph.inputs(id).all(|input| settled[input.index()]) {
            continue;
        }
        match work.settle(id, node) {
            Ok(None) => settled[id.index()] = true,
            Ok(Some(needs)) => pending.push((id, needs)),
            Err(error) => {
                for (id, node) in graph.nodes().filter(|(other, _)| !settled[other.index()] && *other != id) {
                    work.dropped(id, node);
                }
                return vec![error];
            }
        }
    }
    if pending.is_empty() {
        return Vec::new();
    }
    run_rest(graph, work, jobs, &settled, pending)
}

struct Rest<'a, T, W: Work<T>> {
    graph: &'a Graph<T>,
    work: &'a W,
    /// How many inputs of each node have no result yet.
    waiting: Vec<AtomicUsize>,
    /// Which nodes were begun.
    begun: Vec<OnceLock<()>>,
    failed: AtomicBool,
    /// Each with whether it ended the others too.
    errors: std::sync::Mutex<Vec<(bool, W::Error)>>,
}

fn run_rest<T: Sync, W: Work<T>>(
    graph: &Graph<T>,
    work: &W,
    jobs: usize,
    settled: &[bool],
    pending: Vec<(NodeId, W::Pending)>,
) -> Vec<W::Error> {
    let rest = Rest {
        graph,
        work,
        waiting: graph
            .nodes()
            .map(|(id, _)| AtomicUsize::new(graph.inputs(id).filter(|input| !settled[input.index()]).count()))
            .collect(),
        begun: graph.nodes().map(|_| OnceLock::new()).collect(),
        failed: AtomicBool::new(false),
        errors: std::sync::Mutex::new(Vec::new()),
    };
    for (id, _) in graph.nodes().filter(|(id, _)| settled[id.index()]) {
        let _ = rest.begun[id.index()].set(());
    }
    if let [(only, _)] = pending.as_slice()
        && is_chain(graph, *only, settled)
    {
        // Nothing can run beside anything else: no thread is needed.
        let (mut next, mut needs) =
            pending.into_iter().next().map_or((None, None), |(id, needs)| (Some(id), Some(needs)));
        while let Some(id) = next {
            if !rest.one(id, needs.take()) {
                break;
            }
            next = graph
                .dependents(id)
                .find(|dependent| rest.waiting[dependent.index()].fetch_sub(1, Ordering::AcqRel) == 1);
        }
    } else {
        match rayon::ThreadPoolBuilder::new().num_threads(jobs.max(1)).thread_name(|n| format!("kiln-step-{n}")).build()
        {
            Ok(pool) => pool.scope(|scope| {
                for (id, needs) in pending {
                    let rest = &rest;
                    scope.spawn(move |scope| rest.node(scope, id, Some(needs)));
                }
            }),
            // No thread to be had: everything runs on this one.
            Err(_) => rayon::in_place_scope(|scope| {
                for (id, needs) in pending {
                    let rest = &rest;
                    scope.spawn(move |scope| rest.node(scope, id, Some(needs)));
                }
            }),
        }
    }
    for (id, node) in graph.nodes() {
        if rest.begun[id.index()].get().is_none() {
            work.dropped(id, node);
        }
    }
    let mut errors = rest.errors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    errors.sort_by_key(|(stops_others, _)| !stops_others);
    errors.into_iter().map(|(_, error)| error).collect()
}

/// Whether everything unsettled is one chain that begins at `first`.
fn is_chain<T>(graph: &Graph<T>, first: NodeId, settled: &[bool]) -> bool {
    let mut next = Some(first);
    while let Some(id) = next {
        let mut dependents = graph.dependents(id);
        next = dependents.next();
        if dependents.next().is_some() {
            return false;
        }
        if next.is_some_and(|next| graph.inputs(next).filter(|input| !settled[input.index()]).count() > 1) {
            return false;
        }
    }
    true
}

impl<T: Sync, W: Work<T>> Rest<'_, T, W> {
    fn node<'s>(&'s self, scope: &rayon::Scope<'s>, id: NodeId, needs: Option<W::Pending>) {
        if !self.one(id, needs) {
            return;
        }
        for dependent in self.graph.dependents(id) {
            if self.waiting[dependent.index()].fetch_sub(1, Ordering::AcqRel) == 1 {
                scope.spawn(move |scope| self.node(scope, dependent, None));
            }
        }
    }

    /// Settles or runs one node; says whether it has a result.
    fn one(&self, id: NodeId, needs: Option<W::Pending>) -> bool {
        if self.failed.load(Ordering::Acquire) {
            return false;
        }
        let _ = self.begun[id.index()].set(());
        let node = self.graph.get(id);
        let result = match needs {
            Some(needs) => self.work.run(id, node, needs),
            None => match self.work.settle(id, node) {
                Ok(None) => Ok(()),
                Ok(Some(needs)) => self.work.run(id, node, needs),
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                let stops_others = self.work.stops_others(id);
                if stops_others {
                    self.failed.store(true, Ordering::Release);
                }
                let mut errors = self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                errors.push((stops_others, error));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Nodes are (name, is known); the log says what happened in which order.
    #[derive(Default)]
    struct Script {
        log: Mutex<Vec<String>>,
        fails: &'static str,
        /// A failure leaves the others alone.
        is_patient: bool,
        running: AtomicUsize,
        most: AtomicUsize,
    }

    impl Script {
        fn note(&self, text: String) {
            self.log.lock().unwrap().push(text);
        }
    }

    impl Work<(&'static str, bool)> for Script {
        type Pending = ();
        type Error = String;

        fn settle(&self, _: NodeId, (name, known): &(&'static str, bool)) -> Result<Option<()>, String> {
            if *known {
                self.note(format!("hit {name}"));
            }
            Ok((!known).then_some(()))
        }

        fn run(&self, _: NodeId, (name, _): &(&'static str, bool), (): ()) -> Result<(), String> {
            let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.note(format!("ran {name}"));
            if *name == self.fails { Err(format!("{name} failed")) } else { Ok(()) }
        }

        fn stops_others(&self, _: NodeId) -> bool {
            !self.is_patient
        }

        fn dropped(&self, _: NodeId, (name, _): &(&'static str, bool)) {
            self.note(format!("dropped {name}"));
        }
    }

    #[test]
    fn a_chain_runs_in_order_and_hits_after_a_run_are_settled() {
        let mut graph = Graph::default();
        let a = graph.add(("a", true), []);
        let b = graph.add(("b", false), [a]);
        graph.add(("c", true), [b]);
        let script = Script::default();
        assert!(execute(&graph, &script, 4).is_empty());
        assert_eq!(*script.log.lock().unwrap(), ["hit a", "ran b", "hit c"]);
    }

    #[test]
    fn branches_run_side_by_side_and_are_joined() {
        let mut graph = Graph::default();
        let root = graph.add(("root", true), []);
        let branches: Vec<NodeId> = ["x", "y", "z"].map(|name| graph.add((name, false), [root])).to_vec();
        graph.add(("join", false), branches);
        let script = Script::default();
        assert!(execute(&graph, &script, 3).is_empty());
        let log = script.log.lock().unwrap();
        assert_eq!(log.last().unwrap(), "ran join");
        assert_eq!(script.most.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_failure_drops_what_depends_on_it_and_what_was_not_begun() {
        let mut graph = Graph::default();
        let a = graph.add(("a", false), []);
        let b = graph.add(("b", false), [a]);
        graph.add(("c", false), [b]);
        let script = Script { fails: "a", ..Script::default() };
        assert_eq!(execute(&graph, &script, 2), ["a failed"]);
        assert_eq!(*script.log.lock().unwrap(), ["ran a", "dropped b", "dropped c"]);
    }

    #[test]
    fn what_does_not_depend_on_a_failure_that_was_foreseen_is_run() {
        let mut graph = Graph::default();
        let a = graph.add(("a", false), []);
        graph.add(("b", false), [a]);
        let c = graph.add(("c", false), []);
        graph.add(("d", false), [c]);
        let script = Script { fails: "a", is_patient: true, ..Script::default() };
        assert_eq!(execute(&graph, &script, 1), ["a failed"]);
        let mut log = script.log.lock().unwrap().clone();
        log.sort_unstable();
        assert_eq!(log, ["dropped b", "ran a", "ran c", "ran d"]);
    }
}
