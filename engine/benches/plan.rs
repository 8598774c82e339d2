//! How long a large file takes to become a plan: a matrix of 100 branches with 1,000 steps each.
//!
//! Reading, unrolling and planning, nothing else. The bound to hold: 0.5 s.

use divan::black_box;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser;
use kiln_dsl::platform::Platform;
use kiln_engine::plan::{Images, Options, Planned, Unroll, Wanted, choose, goals, plan};
use std::fmt::Write as _;

const BRANCHES: usize = 100;
const STEPS: usize = 1_000;

fn main() {
    divan::main();
}

fn text() -> String {
    let values: Vec<String> = (0..BRANCHES).map(|at| format!("v{at}")).collect();
    let mut text = format!("FROM scratch AS t FOR X IN {}\n", values.join(" "));
    for step in 0..STEPS {
        let _infallible = writeln!(text, "RUN make step-{step} VARIANT=$X");
    }
    text
}

fn steps(text: &str) -> usize {
    let parsed = parser::parse_as(text, Dialect::Kiln);
    let options = Options::new(Platform::host());
    let document = choose(&parsed.document, &options, Unroll::All).expect("a matrix");
    let goals = goals(&document, None).expect("stages");
    let wanted = [Wanted { document: &document, options: &options, stages: &goals.stages }];
    match plan(&wanted, &Images::new()) {
        Ok(Planned::Plan(plan, _)) => plan.graph.len(),
        other => panic!("no plan: {other:?}"),
    }
}

#[divan::bench(sample_count = 5)]
fn a_matrix_of_a_hundred_thousand_steps(bencher: divan::Bencher<'_, '_>) {
    let text = text();
    assert_eq!(steps(&text), BRANCHES * STEPS);
    bencher.bench(|| steps(black_box(&text)));
}
