//! Which step when: each as soon as its inputs are done, side by side.
//!
//! First everything that needs no work is settled on the calling thread, in order; a build in
//! which nothing changed starts no thread. What is left goes to a rayon pool. A failure stops what
//! depends on it and nothing that already runs; steps not yet begun are dropped. Of steps that would do
//! the same one runs, and the others wait for it without a thread. Knows nothing of what a step does.

use crate::graph::{Graph, NodeId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the scheduler asks of its steps.
pub trait Work<T>: Sync {
    /// What a step needs to be run, as found by [`Work::settle`].
    type Pending: Send;
    /// What tells which steps do the same.
    type Name: Eq + Hash + Copy + Send;
    /// A step's result, or that it has none.
    type Error: Send;

    /// The step's result if it is known without running it, else what running it needs. All inputs
    /// have results.
    fn settle(&self, id: NodeId, node: &T) -> Result<Option<Self::Pending>, Self::Error>;

    /// By what a step is known whose result may settle another one: of those with one name one runs at a time, and the
    /// others are settled again when it has ended. `None` is a step that runs whatever others do.
    fn name(&self, node: &T, pending: &Self::Pending) -> Option<Self::Name>;

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
    begun: Vec<AtomicBool>,
    failed: AtomicBool,
    /// Each with whether it ended the others too.
    errors: Mutex<Vec<(bool, W::Error)>>,
    /// What runs under a name, and what ran.
    flights: Mutex<HashMap<W::Name, Flight>>,
}

/// The steps of one name.
enum Flight {
    /// One of them runs; these wait for it.
    Running(Vec<NodeId>),
    /// One of them has run and succeeded, so that another one may have its result.
    Landed,
}

/// Whether a step may begin under its name.
enum Begins {
    /// None of the name has run.
    First,
    /// One has, since it was found what this one needs.
    Again,
    /// Not now.
    Waiting,
}

/// How a node came out of a worker's hands.
enum Turn {
    /// It has its result.
    Done,
    /// It has none, and will have none.
    Failed,
    /// It waits for another one that does the same.
    Parked,
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
        begun: settled.iter().map(|&is_settled| AtomicBool::new(is_settled)).collect(),
        failed: AtomicBool::new(false),
        errors: Mutex::default(),
        flights: Mutex::default(),
    };
    if let [(only, _)] = pending.as_slice()
        && is_chain(graph, *only, settled)
    {
        // Nothing can run beside anything else: no thread is needed.
        let (mut next, mut needs) =
            pending.into_iter().next().map_or((None, None), |(id, needs)| (Some(id), Some(needs)));
        while let Some(id) = next {
            // Nothing runs beside it that it could wait for.
            if !matches!(rest.one(id, needs.take(), &mut Vec::new()), Turn::Done) {
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
        if !rest.begun[id.index()].load(Ordering::Acquire) {
            work.dropped(id, node);
        }
    }
    let mut errors = rest.errors.into_inner().unwrap_or_else(PoisonError::into_inner);
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
        let (turn, woken) = apart(|| {
            let mut woken = Vec::new();
            (self.one(id, needs, &mut woken), woken)
        });
        for other in woken {
            scope.spawn(move |scope| self.node(scope, other, None));
        }
        if !matches!(turn, Turn::Done) {
            return;
        }
        for dependent in self.graph.dependents(id) {
            if self.waiting[dependent.index()].fetch_sub(1, Ordering::AcqRel) == 1 {
                scope.spawn(move |scope| self.node(scope, dependent, None));
            }
        }
    }

    /// Settles or runs one node. What waited for it is `woken`.
    fn one(&self, id: NodeId, needs: Option<W::Pending>, woken: &mut Vec<NodeId>) -> Turn {
        if self.failed.load(Ordering::Acquire) {
            return Turn::Failed;
        }
        self.begun[id.index()].store(true, Ordering::Release);
        let node = self.graph.get(id);
        match self.settled_or_run(id, node, needs, woken) {
            Ok(turn) => turn,
            Err(error) => {
                let stops_others = self.work.stops_others(id);
                if stops_others {
                    self.failed.store(true, Ordering::Release);
                }
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                errors.push((stops_others, error));
                Turn::Failed
            }
        }
    }

    fn settled_or_run(
        &self,
        id: NodeId,
        node: &T,
        needs: Option<W::Pending>,
        woken: &mut Vec<NodeId>,
    ) -> Result<Turn, W::Error> {
        let mut needs = match needs {
            Some(needs) => needs,
            None => match self.work.settle(id, node)? {
                Some(needs) => needs,
                None => return Ok(Turn::Done),
            },
        };
        let Some(name) = self.work.name(node, &needs) else {
            return self.work.run(id, node, needs).map(|()| Turn::Done);
        };
        match self.begins(name, id) {
            Begins::Waiting => return Ok(Turn::Parked),
            Begins::First => {}
            // What it needs was found before another one had made the same.
            Begins::Again => match self.work.settle(id, node) {
                Ok(Some(again)) => needs = again,
                settled => {
                    *woken = self.ended(name, true);
                    return settled.map(|_| Turn::Done);
                }
            },
        }
        let result = self.work.run(id, node, needs);
        *woken = self.ended(name, result.is_ok());
        result.map(|()| Turn::Done)
    }

    /// Lets a step begin under its name, or wait for the one that runs.
    fn begins(&self, name: W::Name, id: NodeId) -> Begins {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.insert(name, Flight::Running(Vec::new())) {
            None => Begins::First,
            Some(Flight::Landed) => Begins::Again,
            Some(Flight::Running(mut waiting)) => {
                // If it never gets its turn it was never begun.
                self.begun[id.index()].store(false, Ordering::Release);
                waiting.push(id);
                flights.insert(name, Flight::Running(waiting));
                Begins::Waiting
            }
        }
    }

    /// Notes how the step of a name ended; gives those that waited for it.
    fn ended(&self, name: W::Name, has_result: bool) -> Vec<NodeId> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = match has_result {
            true => flights.insert(name, Flight::Landed),
            false => flights.remove(&name),
        };
        match flight {
            Some(Flight::Running(waiting)) => waiting,
            Some(Flight::Landed) | None => Vec::new(),
        }
    }
}

/// Does a step's work on a thread that is none of the pool's. A thread of the pool that waits for its share of parallel
/// work takes up other work of the pool meanwhile: another step, which may wait for a lock that is held for that very
/// share, and which in any case has to end first. Where no thread can be had it is done here.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("kiln-step".to_owned());
        let begun = thread.spawn_scoped(scope, || take().map(|work| work()));
        match begun.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => take().map(|work| work()),
        }
    })
    .expect("the work is done once, here or there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Nodes are (name, is known); the log says what happened in which order. What has the same word before its dash does
    /// the same.
    #[derive(Default)]
    struct Script {
        made: Mutex<Vec<&'static str>>,
        log: Mutex<Vec<String>>,
        fails: &'static str,
        /// What runs first fails, whatever it is.
        fails_at_first: AtomicBool,
        /// A failure leaves the others alone.
        is_patient: bool,
        running: AtomicUsize,
        most: AtomicUsize,
    }

    impl Script {
        fn note(&self, text: String) {
            self.log.lock().unwrap().push(text);
        }

        fn word(name: &'static str) -> Option<&'static str> {
            name.split_once('-').map(|(word, _)| word)
        }
    }

    impl Work<(&'static str, bool)> for Script {
        type Pending = ();
        type Name = &'static str;
        type Error = String;

        fn settle(&self, _: NodeId, (name, known): &(&'static str, bool)) -> Result<Option<()>, String> {
            let is_made = Script::word(name).is_some_and(|word| self.made.lock().unwrap().contains(&word));
            if *known || is_made {
                self.note(format!("hit {name}"));
            }
            Ok((!known && !is_made).then_some(()))
        }

        fn name(&self, (name, _): &(&'static str, bool), (): &()) -> Option<&'static str> {
            Script::word(name)
        }

        fn run(&self, _: NodeId, (name, _): &(&'static str, bool), (): ()) -> Result<(), String> {
            let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.note(format!("ran {name}"));
            if *name == self.fails || self.fails_at_first.swap(false, Ordering::SeqCst) {
                return Err(format!("{name} failed"));
            }
            self.made.lock().unwrap().extend(Script::word(name));
            Ok(())
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

    #[test]
    fn of_steps_that_do_the_same_one_runs_and_the_others_hit() {
        for jobs in [1, 2, 8] {
            let mut graph = Graph::default();
            let root = graph.add(("root", false), []);
            // Some are ready at once, some only after another step.
            for name in ["x-1", "x-2", "x-3", "y-1"] {
                let one = graph.add((name, false), []);
                graph.add(("after", false), [one]);
            }
            for name in ["x-4", "y-2", "x-5"] {
                let one = graph.add((name, false), [root]);
                graph.add(("after", false), [one]);
            }
            let script = Script::default();
            assert!(execute(&graph, &script, jobs).is_empty());
            let log = script.log.lock().unwrap();
            let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
            assert_eq!((count("ran x"), count("hit x"), count("ran y"), count("hit y")), (1, 4, 1, 1), "{log:?}");
            assert_eq!(count("ran after"), 7, "{log:?}");
        }
    }

    /// Its steps share their work out, and note on which threads they do.
    struct Shares;

    impl Work<()> for Shares {
        type Pending = ();
        type Name = ();
        type Error = String;

        fn settle(&self, _: NodeId, (): &()) -> Result<Option<()>, String> {
            Ok(Some(()))
        }

        fn name(&self, (): &(), (): &()) -> Option<()> {
            None
        }

        fn run(&self, id: NodeId, (): &(), (): ()) -> Result<(), String> {
            use rayon::prelude::*;
            thread_local!(static BUSY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
            if BUSY.replace(true) {
                return Err(format!("{id:?} was taken up within another step"));
            }
            (0..16).into_par_iter().for_each(|_| std::thread::sleep(Duration::from_millis(1)));
            BUSY.set(false);
            Ok(())
        }

        fn stops_others(&self, _: NodeId) -> bool {
            false
        }

        fn dropped(&self, _: NodeId, (): &()) {}
    }

    #[test]
    fn a_step_that_waits_for_its_share_of_parallel_work_takes_up_no_other_step() {
        let mut graph = Graph::default();
        for _ in 0..32 {
            graph.add((), []);
        }
        for jobs in [1, 2, 8] {
            assert_eq!(execute(&graph, &Shares, jobs), Vec::<String>::new());
        }
    }

    #[test]
    fn what_waits_for_one_that_fails_is_dropped_or_runs_by_itself() {
        for (is_patient, expected) in [(false, ["dropped", "ran"]), (true, ["ran", "ran"])] {
            let mut graph = Graph::default();
            graph.add(("x-1", false), []);
            graph.add(("x-2", false), []);
            let script = Script { is_patient, fails_at_first: AtomicBool::new(true), ..Script::default() };
            assert_eq!(execute(&graph, &script, 2).len(), 1);
            let log = script.log.lock().unwrap();
            let mut words: Vec<&str> = log.iter().filter_map(|line| line.split(' ').next()).collect();
            words.sort_unstable();
            assert_eq!(words, expected);
            assert_eq!(script.most.load(Ordering::SeqCst), 1, "never side by side");
        }
    }
}
