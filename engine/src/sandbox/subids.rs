//! The subordinate ids that an administrator gave a user, in `/etc/subuid` and `/etc/subgid`.

use super::users::Passwd;
use std::fs;

/// Ids outside, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SubRange {
    pub(super) first: u64,
    pub(super) count: u64,
}

/// All that a user has of both kinds; neither is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SubordinateIds {
    pub(super) uids: Vec<SubRange>,
    pub(super) gids: Vec<SubRange>,
}

/// Reads what the files say of a user; in words, why there is nothing.
pub(super) fn for_user(uid: u32) -> Result<SubordinateIds, String> {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let name = Passwd::new(Some(&passwd)).name(uid).map(|name| String::from_utf8_lossy(name).into_owned());
    let find = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = parse(&text, uid, name.as_deref());
        if found.is_empty() { Err(format!("{path} has no line for this user")) } else { Ok(found) }
    };
    Ok(SubordinateIds { uids: find("/etc/subuid")?, gids: find("/etc/subgid")? })
}

/// Lines are `name-or-uid:first:count`.
fn parse(text: &str, uid: u32, name: Option<&str>) -> Vec<SubRange> {
    let uid = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let mine = owner == uid || Some(owner) == name;
        // No id reaches 2^32; a line that says otherwise is no line.
        let sane = count > 0 && u64::checked_add(first, count).is_some_and(|end| end <= u64::from(u32::MAX));
        (mine && sane).then_some(SubRange { first, count })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_by_name_and_by_number_count_and_others_do_not() {
        let text = "web:100000:65536\nother:1:2\n1000:300000:10\nweb:x:1\nweb:4294967295:9\nweb:5:0\n";
        let ranges = parse(text, 1000, Some("web"));
        assert_eq!(ranges, [SubRange { first: 100_000, count: 65536 }, SubRange { first: 300_000, count: 10 }]);
        assert_eq!(parse(text, 7, None), []);
    }
}
