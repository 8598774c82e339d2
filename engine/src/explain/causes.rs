//! Which changes began what a build did: the root causes, each with the steps that ran because of it.
//!
//! Pure: a record in, a list out.

use super::record::{Build, BuildStep};
use super::verdict::{Miss, Verdict};

/// What began with one change, or with one circumstance.
#[derive(Clone, PartialEq, Debug)]
pub struct Cause {
    /// What it was.
    pub root: CauseRoot,
    /// The steps that ran because of it, the root itself among them if it ran.
    pub ran: Vec<usize>,
}

/// What a cause is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CauseRoot {
    /// This instruction is another one, or reads something else.
    Step(usize),
    /// An instruction of the earlier build is gone.
    Gone(String),
    /// No change: these steps had to run for another reason.
    Circumstance(Miss),
}

impl Cause {
    /// The time of the steps that ran because of it, in seconds.
    pub fn seconds(&self, build: &Build) -> f64 {
        // A sum of nothing would be minus nothing.
        self.ran.iter().filter_map(|&step| build.steps.get(step)).fold(0.0, |sum, step| sum + step.duration)
    }
}

/// The causes of a build, what cost most first; what cost nothing stands in the order of the file.
pub fn causes(build: &Build) -> Vec<Cause> {
    let mut all: Vec<Cause> = Vec::new();
    let mut find = |root: CauseRoot| match all.iter().position(|cause| cause.root == root) {
        Some(at) => at,
        None => {
            all.push(Cause { root, ran: Vec::new() });
            all.len() - 1
        }
    };
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for (index, step) in build.steps.iter().enumerate() {
        if let Some(root) = root_of(build, index, 0) {
            let at = find(root);
            if step.verdict.ran() {
                rows.push((at, index));
            }
        }
    }
    for name in build.before.iter().flat_map(|before| &before.removed) {
        find(CauseRoot::Gone(name.clone()));
    }
    for (at, index) in rows {
        all[at].ran.push(index);
    }
    all.sort_by(|a, b| b.seconds(build).total_cmp(&a.seconds(build)));
    all
}

/// Roots lead to earlier instructions only; a damaged record must not lead round in circles.
const DEPTH_MAX: usize = 64;

/// With what a step's ending began; `None` where there is nothing to say.
fn root_of(build: &Build, index: usize, depth: usize) -> Option<CauseRoot> {
    let step = build.steps.get(index).filter(|_| depth < DEPTH_MAX)?;
    if step.verdict == Verdict::Miss(Miss::Expired) {
        return Some(CauseRoot::Circumstance(Miss::Expired));
    }
    if has_own_change(step) {
        return Some(CauseRoot::Step(index));
    }
    if let Some(dragged) = step.why.dragged.first() {
        return Some(match dragged.root {
            Some(root) if root == index => CauseRoot::Step(index),
            Some(root) => root_of(build, root, depth + 1).unwrap_or(CauseRoot::Step(root)),
            None => CauseRoot::Gone(dragged.name.clone()),
        });
    }
    match step.verdict {
        Verdict::Miss(miss) | Verdict::Failed(Some(miss)) => Some(CauseRoot::Circumstance(miss)),
        _ => None,
    }
}

/// Whether something changed that no other instruction began.
pub fn has_own_change(step: &BuildStep) -> bool {
    let why = &step.why;
    why.changes.iter().any(|change| why.dragged.iter().all(|dragged| dragged.label != change.label()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::explain::record::{Asked, Before};
    use crate::explain::{BuildId, Change, Dragged, End, Why};

    /// A step of a build.
    pub fn step(name: &str, verdict: Verdict, duration: f64, why: Why) -> BuildStep {
        BuildStep {
            name: name.into(),
            stage: "0".into(),
            platform: String::new(),
            instruction: name.into(),
            written: name.into(),
            line: 1,
            file: None,
            inputs: Vec::new(),
            verdict,
            reason: String::new(),
            key: None,
            layer: None,
            stack: None,
            duration,
            earlier: None,
            why,
            made: None,
        }
    }

    /// A build of these steps.
    pub fn build(steps: Vec<BuildStep>) -> Build {
        Build {
            id: BuildId::from_bytes([1; 6]),
            started_nanos: 0,
            duration: 1.0,
            asked: Asked::default(),
            end: End::Built,
            image: None,
            names: Vec::new(),
            before: None,
            steps,
        }
    }

    fn changed(label: &str) -> Why {
        let change = Change::Text { label: label.into(), old: Some("1".into()), new: Some("2".into()) };
        Why { changes: vec![change], ..Why::default() }
    }

    fn dragged(label: &str, root: Option<usize>, name: &str) -> Why {
        Why { dragged: vec![Dragged { label: label.into(), root, name: name.into() }], ..Why::default() }
    }

    #[test]
    fn what_was_dragged_along_is_counted_with_its_root() {
        let env = Why { dragged: dragged("ENV A", Some(0), "ENV").dragged, ..changed("ENV A") };
        let build = build(vec![
            step("ENV", Verdict::Hit(crate::explain::Hit::Configuration), 0.0, changed("the instruction")),
            step("RUN a", Verdict::Miss(Miss::Changed), 2.0, env),
            step("RUN b", Verdict::Miss(Miss::ParentChanged), 3.0, dragged("parent", Some(1), "RUN a")),
            step("COPY", Verdict::Miss(Miss::Changed), 9.0, changed("files")),
        ]);
        let found = causes(&build);
        let expected =
            [Cause { root: CauseRoot::Step(3), ran: vec![3] }, Cause { root: CauseRoot::Step(0), ran: vec![1, 2] }];
        assert_eq!(found, expected);
        assert!((found[1].seconds(&build) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn steps_that_ran_for_the_same_circumstance_are_one_cause() {
        let run = |verdict| step("RUN", verdict, 1.0, Why::default());
        let build = build(vec![
            run(Verdict::Miss(Miss::Forced)),
            run(Verdict::Miss(Miss::Forced)),
            run(Verdict::Hit(crate::explain::Hit::Local)),
            run(Verdict::Cancelled),
        ]);
        assert_eq!(causes(&build), [Cause { root: CauseRoot::Circumstance(Miss::Forced), ran: vec![0, 1] }]);
    }

    #[test]
    fn a_removed_instruction_is_a_cause_even_if_nothing_ran_for_it() {
        let mut build =
            build(vec![step("RUN", Verdict::Miss(Miss::ParentChanged), 1.0, dragged("parent", None, "RUN x"))]);
        build.before = Some(Before {
            id: BuildId::from_bytes([0; 6]),
            started_nanos: 0,
            asked: Asked::default(),
            removed: vec!["RUN x".into(), "LABEL".into()],
            stages_moved: false,
        });
        let expected = [
            Cause { root: CauseRoot::Gone("RUN x".into()), ran: vec![0] },
            Cause { root: CauseRoot::Gone("LABEL".into()), ran: Vec::new() },
        ];
        assert_eq!(causes(&build), expected);
    }

    #[test]
    fn roots_that_lead_in_circles_end() {
        let build = build(vec![
            step("a", Verdict::Miss(Miss::ParentChanged), 1.0, dragged("parent", Some(1), "b")),
            step("b", Verdict::Miss(Miss::ParentChanged), 1.0, dragged("parent", Some(0), "a")),
        ]);
        assert!(!causes(&build).is_empty());
    }
}
