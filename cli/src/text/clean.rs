//! Makes text from outside (a step's output, an instruction) safe to show on a terminal.
//!
//! Nothing that is visible is lost; what would move the cursor, retitle the window or hide other
//! lines is. Pure.

use unicode_width::UnicodeWidthChar;

/// The lines of `text` without their ends: a carriage return ends a line too, so that nothing that
/// a progress bar wrote is hidden by what came after it, and lines that are empty because of it are dropped.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let is_empty = line.is_empty();
        line.split('\r').filter(move |part| is_empty || !part.is_empty())
    })
}

/// Whether nothing but letters, digits, signs and blanks of ASCII is there: then nothing has to be taken out.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// The line with escape sequences and control characters taken out; tabs stay.
pub fn line(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Takes the rest of an escape sequence: CSI to its final byte, OSC and the like to their terminator.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            while let Some(&c) = chars.peek() {
                if !(' '..='~').contains(&c) {
                    return;
                }
                chars.next();
                if ('@'..='~').contains(&c) {
                    return;
                }
            }
        }
        Some(']' | 'P' | '^' | '_' | 'X') => {
            while let Some(c) = chars.next() {
                if c == '\x07' {
                    return;
                }
                if c == '\x1b' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
        }
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

/// An instruction, which may have several lines, as one line without runs of blanks.
pub fn one_line(text: &str) -> String {
    if is_plain(text) && !text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  ") {
        return text.to_owned();
    }
    let clean: String = text.chars().map(|c| if c == '\n' || c == '\r' || c == '\t' { ' ' } else { c }).collect();
    let mut out = String::with_capacity(clean.len());
    for word in line(&clean).split(' ').filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// As much of `text` as fits `width` columns, with `…` for the rest; tabs count and become one blank.
pub fn fit(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = if c == '\t' { ' ' } else { c };
        let wide = c.width().unwrap_or(0);
        let is_last = chars.peek().is_none();
        if used + wide > width || (used + wide == width && !is_last) {
            if width > used {
                out.push('…');
            }
            return out;
        }
        out.push(c);
        used += wide;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_lost_to_a_carriage_return() {
        let shown: Vec<_> = lines("10%\r100%\r\n\nfatal\r   \nend").collect();
        assert_eq!(shown, ["10%", "100%", "", "fatal", "   ", "end"]);
    }

    #[test]
    fn escape_sequences_leave_only_what_is_seen() {
        assert_eq!(line("a\x1b[1;31mred\x1b[0m\tb\x07"), "ared\tb");
        assert_eq!(line("\x1b]0;title\x07x\x1b]8;;url\x1b\\link"), "xlink");
        assert_eq!(line("\x1b(Bx\x1bMy\x1b[2Jz"), "xyz");
        assert_eq!(line("cut\x1b["), "cut");
        assert_eq!(line("cut\x1b]0;endless"), "cut");
    }

    proptest::proptest! {
        #[test]
        fn no_text_keeps_a_control_character_and_clean_text_stays_as_it_is(text in ".*\\PC*\\x1b?.*") {
            let clean = line(&text);
            proptest::prop_assert!(clean.chars().all(|c| c == '\t' || !c.is_control()));
            proptest::prop_assert_eq!(line(&clean), clean);
        }

        #[test]
        fn a_cut_line_never_exceeds_its_width_and_begins_like_the_whole(text in "\\PC*", width in 0usize..40) {
            let cut = fit(&text, width);
            let used: usize = cut.chars().filter_map(UnicodeWidthChar::width).sum();
            proptest::prop_assert!(used <= width);
            proptest::prop_assert!(text.starts_with(cut.trim_end_matches('…')));
        }
    }

    #[test]
    fn an_instruction_becomes_one_line() {
        assert_eq!(one_line("RUN <<EOF\n\techo  a\nEOF\n"), "RUN <<EOF echo a EOF");
    }

    #[test]
    fn a_cut_line_has_exactly_the_width_it_may_have() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 5), "abcd…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("日本", 4), "日本");
        assert_eq!(fit("abc", 0), "");
    }
}
