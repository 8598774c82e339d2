//! What hostile texts cost: four times the text may not cost much more than four times the work.
//!
//! Work is counted, not timed by the clock: the bytes that are allocated, and the time that the thread really ran on a
//! processor (the lesser of two runs), which other programs on the machine do not change. Both grow 16-fold where
//! something is quadratic.

#![cfg(unix)]

use kiln_dsl::check::{self, Options};
use kiln_dsl::expand;
use kiln_dsl::ignore::Ignore;
use kiln_dsl::parser;
use kiln_dsl::pattern::Pattern;
use kiln_dsl::platform::Platform;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

thread_local! {
    static ALLOCATED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks for.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATED_BYTES.try_with(|bytes| bytes.set(bytes.get() + layout.size() as u64));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long this thread has run on a processor, in nanoseconds.
fn ran_nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("the past")
}

/// The bytes allocated and the lesser time of two runs.
fn cost(work: &dyn Fn()) -> (u64, u64) {
    const RUNS: usize = 2;
    let before = ALLOCATED_BYTES.get();
    work();
    let bytes = ALLOCATED_BYTES.get() - before;
    let times = (0..RUNS).map(|_| {
        let began = ran_nanoseconds();
        work();
        ran_nanoseconds() - began
    });
    (bytes, times.min().unwrap_or_default())
}

/// Holds that the cost of `work` grows with the size of its text.
fn linear(name: &str, sizes: [usize; 2], text: impl Fn(usize) -> String, work: impl Fn(&str)) {
    const SLACK: u64 = 2;
    /// Below this the fixed costs and the clock's steps decide.
    const NOISE_NANOSECONDS: u64 = 400_000;
    let texts = sizes.map(&text);
    let growth = (texts[1].len() as u64).div_ceil(texts[0].len() as u64);
    assert!(growth >= 4, "{name}: {growth}");
    let [small, large] = [0, 1].map(|index| cost(&|| work(&texts[index])));
    assert!(
        large.0 <= (small.0 + 4_096) * growth * SLACK,
        "{name}: {} bytes for {} of {growth} times",
        large.0,
        small.0
    );
    let bound = small.1.max(NOISE_NANOSECONDS) * growth * SLACK;
    assert!(large.1 <= bound, "{name}: ran {} ns for {} ns of a {growth}th", large.1, small.1);
}

fn read(text: &str) {
    parser::parse_raw(text);
    let parsed = parser::parse(text);
    let platform = Platform::host();
    let options = Options {
        build_args: &[],
        target: None,
        all_stages: true,
        platform: &platform,
        build_platform: &platform,
        ignore: None,
        base: &|_, _| None,
    };
    check::check(&parsed, &options);
}

#[test]
fn many_instructions_cost_as_much_as_they_are_long() {
    let families = [
        "RUN make\n",
        "ENV A=1 B=$A\n",
        "ENV A$N=${A:-$B}\n",
        "ARG A=$B\n",
        "COPY a $B /c\n",
        "x\n",
        "# c\n",
        "\n",
        "LABEL a b\n",
        "ONBUILD RUN x\n",
        "HEALTHCHECK CMD x\n",
        "CMD [\"a\"]\n",
        "RUN <<E\nx\nE\n",
        "RUN a \\\n# c\n\n b\n",
        "EXPOSE 80/TCP\n",
        "FROM a\n",
        "FROM a AS b\nCOPY --from=b c d\n",
        "RUN --mount=type=cache,target=/root/.npm echo\n",
        "COPY . .\nRUN npm ci\n",
        "RNU x\n",
        "ARG x\nFROM $x\n",
        "# kiln: --key=default\nRUN x\n",
        "# check=skip=all\nWORKDIR a\n",
        "Run x\nrun x\n",
    ];
    for line in families {
        linear(
            line,
            [2_000, 8_000],
            |count| "FROM a\n".to_owned() + &line.repeat(count / line.matches('\n').count()),
            read,
        );
    }
}

#[test]
fn a_hundred_thousand_instructions_are_read_and_checked() {
    for line in ["RUN make\n", "FROM a\n", "x\n"] {
        read(&("FROM a\n".to_owned() + &line.repeat(100_000)));
    }
}

#[test]
fn one_instruction_costs_as_much_as_it_is_long() {
    let families = [
        ("RUN ", "a"),
        ("RUN ", " "),
        ("RUN ", "\""),
        ("RUN ", "\\"),
        ("RUN ", "<<A "),
        ("RUN <<E", "${x:-"),
        ("ENV ", "a=b "),
        ("ENV a=", "\"'"),
        ("COPY ", "--x "),
        ("COPY ", "a "),
        ("CMD ", "["),
        ("CMD [", "\"a\","),
        ("CMD ", "{\""),
        ("RUN --mount=", "a,"),
        ("RUN --mount=", "\"\""),
        ("ONBUILD ", "ONBUILD "),
        ("ARG ", "a=$b "),
        ("EXPOSE ", "1 "),
        ("FROM ", "a "),
        ("# check=", "skip="),
        ("# kiln: KEY a = ", "files(\"a\") + "),
        ("LABEL a=", "${b/"),
        ("USER ", "$a"),
        ("RUN ", "npm ci;"),
        ("HEALTHCHECK --", "a"),
        ("VOLUME ", "[\"a\"]"),
        ("", "A"),
        ("COPY --chown=", "$a:"),
        ("WORKDIR ", "../"),
    ];
    for (head, part) in families {
        linear(
            &format!("{head}{part}…"),
            [15_000, 64_000],
            |bytes| format!("FROM a\n{head}{}\n", part.repeat(bytes / part.len())),
            read,
        );
    }
}

#[test]
fn a_continued_instruction_costs_as_much_as_it_is_long() {
    for part in ["a=1\\\n ", "# c\n", "\\\n", "x \\\n\n", "<<A \\\n"] {
        for head in ["ENV ", "RUN ", "COPY "] {
            linear(part, [4_000, 16_000], |count| format!("FROM a\n{head}\\\n{}", part.repeat(count)), read);
        }
    }
}

#[test]
fn deep_and_long_expansions_cost_as_much_as_they_are_long() {
    let vars: BTreeMap<String, String> = [("a".to_owned(), "x/y".repeat(10)), ("b".to_owned(), String::new())].into();
    let families = [
        ("${n:-", "", "}"),
        ("${a:+", "", "}"),
        ("${b:-\"", "x", "\"}"),
        ("${a#", "*", "}"),
        ("${a/", "x", "/y}"),
        ("${a//", "*x", "/y}"),
        ("$", "n", ""),
        ("\"", "$n", "\""),
        ("'", "a", "'"),
        ("\\", "a", ""),
        ("${n", "", "}"),
        ("{", "", "}"),
        ("${a%%", "?", "}"),
        ("<", "<E", ""),
    ];
    for (open, middle, close) in families {
        linear(
            &format!("{open}…{close}"),
            [2_500, 10_000],
            |depth| open.repeat(depth) + middle + &close.repeat(depth),
            |text| {
                for escape in ['\\', '`'] {
                    let _ = expand::word(text, escape, &vars);
                    let _ = expand::words(text, escape, &vars);
                }
                let _ = expand::heredoc(text, &vars);
            },
        );
    }
    // The pattern of a replacement against a long value.
    for pattern in ["*x*x*x*x*x*x*z", "?*?*?*?*z", "*", "x", "y*x"] {
        linear(
            pattern,
            [5_000, 20_000],
            |bytes| "x/y".repeat(bytes / 3),
            |value| {
                let vars: BTreeMap<String, String> = [("v".to_owned(), value.to_owned())].into();
                for form in ["#", "##", "%", "%%", "/"] {
                    let _ = expand::word(&format!("${{v{form}{pattern}/r}}"), '\\', &vars);
                }
            },
        );
    }
}

#[test]
fn values_that_are_made_of_each_other_end_in_an_error_and_not_in_all_memory() {
    let vars: BTreeMap<String, String> = [("a".to_owned(), "x".repeat(1_000))].into();
    for text in [
        "$a".repeat(32_000),
        "${a//x/".repeat(8) + "$a" + &"}".repeat(8),
        "${n:-".to_owned() + &"$a".repeat(32_000) + "}",
    ] {
        let error = expand::word(&text, '\\', &vars).expect_err("too long");
        assert_eq!(error.to_string(), "the value is longer than 16 MiB");
    }
    // Each line doubles the value of the one before.
    let began = ALLOCATED_BYTES.get();
    read(&("FROM a\nENV a=xx\n".to_owned() + &"ENV a=$a$a\n".repeat(100)));
    assert!(ALLOCATED_BYTES.get() - began < 1 << 28);
}

#[test]
fn patterns_cost_as_much_as_they_and_their_paths_are_long() {
    let ask = |patterns: &str, path: &str| {
        if let Ok(ignore) = Ignore::parse(patterns) {
            ignore.excluded(path.as_bytes(), false);
            ignore.may_reinclude_below(path.as_bytes());
        }
        if let Ok(pattern) = Pattern::parse(patterns) {
            pattern.matches(path.as_bytes());
        }
    };
    let paths = ["a".repeat(300), "a/".repeat(150), "ab".repeat(150) + "c"];
    for part in [
        "*", "*a", "**/", "?", "[a-z]", "[^b]*", "a*b*", "\\*", "**", "/", "!a\n", "*.x\n", "**/a\n", "a/**\n", "a/../",
    ] {
        for path in &paths {
            let name = format!("{part}… on {}…", &path[..4]);
            linear(&name, [250, 1_000], |count| part.repeat(count), |patterns| ask(patterns, path));
        }
    }
    for pattern in ["*a*a*a*a*a*a*b", "**/a/**/a/**/b", "[a-z]*[a-z]*0", "**", "*/*/*/*/x", "!**/a*b", "a*?*?*b"] {
        for part in ["a", "a/", "ab", "é"] {
            let name = format!("{pattern} on {part}…");
            linear(&name, [2_500, 10_000], |count| part.repeat(count), |path| ask(pattern, path));
        }
    }
}

#[test]
fn nesting_costs_no_stack() {
    // What a thread of a program has by default; a call for each of the levels below would need more.
    const STACK_BYTES: usize = 2 << 20;
    let run = || {
        let deep = |open: &str, close: &str, levels: usize| open.repeat(levels) + &close.repeat(levels);
        let vars: BTreeMap<String, String> = BTreeMap::new();
        for (open, close) in [("${x:-", "}"), ("${x:+\"", "\"}"), ("${x#", "}")] {
            let _ = expand::word(&deep(open, close, 100_000), '\\', &vars);
        }
        // As deep as a line may be long.
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("ONBUILD ", ""), ("(", ")")] {
            let text = deep(open, close, 64_000 / (open.len() + close.len()));
            for head in ["CMD ", "RUN --mount=", "# kiln: KEY a = ", ""] {
                read(&format!("FROM a\n{head}{text}\n"));
            }
        }
        let _ = Ignore::parse(&deep("**/", "*", 100_000));
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
    thread.join().expect("no overflow and no panic");
}
