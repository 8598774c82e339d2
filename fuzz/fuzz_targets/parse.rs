//! Any text as a Dockerfile: read at both levels, checked, and every place it points at is in it.

#![no_main]

use kiln_dsl::check::{self, Options};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let within = |text: &str, span: Span| {
        assert!(text.get(span.start as usize..span.end as usize).is_some(), "{span:?} is outside of the text");
    };
    let told_in = |text: &str, found: &Diagnostic| {
        within(text, found.span);
        found.related.iter().for_each(|(span, _)| within(text, *span));
    };
    let raw = parser::parse_raw(text);
    raw.diagnostics.iter().for_each(|found| told_in(text, found));
    for dialect in [Dialect::Dockerfile, Dialect::Kiln] {
        // Every file that is included is the text itself.
        let mut load = |_: &str| Ok(text.to_owned());
        let parsed = parser::parse_file("file", text, dialect, &mut load);
        let (whole, sources) = (parsed.sources.text(), &parsed.sources);
        let within = |span: Span| within(whole, span);
        let told = |found: &Diagnostic| {
            told_in(whole, found);
            let _ = (sources.shown(found.span), sources.trail(found.span), sources.line(found.span));
        };
        parsed.diagnostics.iter().for_each(told);
        for instruction in &parsed.document.instructions {
            within(instruction.span);
            within(instruction.keyword.span);
            assert!(instruction.first_line >= 1 && instruction.first_line <= instruction.last_line);
        }
        let platform = Platform::host();
        let report = check::check(
            &parsed,
            &Options {
                build_args: &[],
                target: None,
                all_stages: true,
                platform: &platform,
                build_platform: &platform,
                ignore: None,
                base: &|_, _| None,
            },
        );
        report.errors.iter().for_each(told);
        for finding in &report.findings {
            told(&finding.diagnostic());
        }
    }
    let _ = parser::parse_trigger(text);
});
