//! Rows of cells as aligned columns. Pure.

use unicode_width::UnicodeWidthStr;

/// Blanks between two columns.
const GAP: usize = 3;

/// The rows below their header, every column as wide as its widest cell, no blanks at line ends.
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut out = String::new();
    line(&mut out, &header, &widths);
    for row in rows {
        line(&mut out, &row.each_ref().map(String::as_str), &widths);
    }
    out
}

fn line(out: &mut String, cells: &[&str], widths: &[usize]) {
    let mut blanks = 0;
    for (cell, width) in cells.iter().zip(widths) {
        if !cell.is_empty() {
            out.extend(std::iter::repeat_n(' ', blanks));
            out.push_str(cell);
            blanks = 0;
        }
        blanks += width - cell.width() + GAP;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_blanks() {
        let rows = [["a".into(), "1".into(), String::new()], ["größer".into(), String::new(), "x".into()]];
        assert_eq!(table(["NAME", "N", "NOTE"], &rows), "NAME     N   NOTE\na        1\ngrößer       x\n");
    }
}
