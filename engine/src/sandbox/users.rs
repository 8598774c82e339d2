//! Who a step runs as: `USER` values and the files `/etc/passwd` and `/etc/group` of the image.
//!
//! Pure. A number is never looked up as a name, no library of the image is asked, and lines that cannot
//! be read are passed over, as the C library does.

use super::spec::Ids;

/// Why a `USER` value names nobody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UserError {
    /// The value is empty or has an empty part.
    #[error("{spec:?} names no user")]
    Empty {
        /// The value as it was given.
        spec: String,
    },
    /// A number that no user or group can have.
    #[error("{what} {value:?} is not a number below 4294967295")]
    OutOfRange {
        /// `uid` or `gid`.
        what: &'static str,
        /// The number as it was given.
        value: String,
    },
    /// A name that the image's file does not have.
    #[error("no {what} {name:?} in the image's {file}")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The file that was searched.
        file: &'static str,
    },
}

/// One user of `/etc/passwd`.
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// The image's `/etc/passwd`.
#[derive(Clone, Copy, Debug)]
pub struct Passwd<'a>(Option<&'a [u8]>);

impl<'a> Passwd<'a> {
    /// Reads users from the bytes of the file; none where there is no file.
    pub fn new(file: Option<&'a [u8]>) -> Self {
        Passwd(file)
    }

    /// The home directory of the first user with this id; `None` where there is none or it is empty.
    pub fn home(&self, uid: u32) -> Option<&'a [u8]> {
        self.users().find(|user| user.uid == uid).map(|user| user.home).filter(|home| !home.is_empty())
    }

    /// The name of the first user with this id.
    pub(super) fn name(&self, uid: u32) -> Option<&'a [u8]> {
        self.users().find(|user| user.uid == uid).map(|user| user.name)
    }

    fn users(&self) -> impl Iterator<Item = User<'a>> {
        lines(self.0).filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let (name, _password) = (fields.next()?, fields.next()?);
            let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
            let (_comment, home) = (fields.next(), fields.next().unwrap_or_default());
            Some(User { name, uid, gid, home })
        })
    }
}

/// Finds the numbers behind `name`, `1000`, `name:group` or `1000:1000`.
///
/// Without a group it is the user's own, or 0 for a number that has no entry, and the supplementary
/// groups are those that list the user's name. With a group there are no others, as in Docker.
///
/// # Errors
/// When a part is empty, a number is out of range, or a name is in no file.
pub fn resolve_user(spec: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<Ids, UserError> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    if user.is_empty() || wanted_group == Some("") {
        return Err(UserError::Empty { spec: spec.to_owned() });
    }
    let users = Passwd::new(passwd);
    let entry = match id("uid", user)? {
        Some(uid) => users.users().find(|entry| entry.uid == uid).ok_or(uid),
        None => Ok(users.users().find(|entry| entry.name == user.as_bytes()).ok_or_else(|| UserError::Unknown {
            what: "user",
            name: user.to_owned(),
            file: "/etc/passwd",
        })?),
    };
    let (uid, own_gid, name) = match &entry {
        Ok(entry) => (entry.uid, entry.gid, Some(entry.name)),
        Err(uid) => (*uid, 0, None),
    };
    if let Some(wanted) = wanted_group {
        let gid = match id("gid", wanted)? {
            Some(gid) => gid,
            None => groups(group)
                .find(|entry| entry.name == wanted.as_bytes())
                .map(|entry| entry.gid)
                .ok_or_else(|| UserError::Unknown { what: "group", name: wanted.to_owned(), file: "/etc/group" })?,
        };
        return Ok(Ids { uid, gid, groups: vec![gid] });
    }
    let lists = |entry: &Group<'_>| name.is_some_and(|name| entry.members().any(|member| member == name));
    let mut all = vec![own_gid];
    for gid in groups(group).filter(lists).map(|entry| entry.gid) {
        if !all.contains(&gid) {
            all.push(gid);
        }
    }
    Ok(Ids { uid, gid: own_gid, groups: all })
}

/// One group of `/etc/group`.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl<'a> Group<'a> {
    fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        self.members.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
    }
}

fn groups(file: Option<&[u8]>) -> impl Iterator<Item = Group<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(file: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let lines = file.unwrap_or_default().split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    // The last number means "no id" to the kernel.
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok().filter(|id| *id != u32::MAX)
}

/// The id that digits mean; `None` for a name.
fn id(what: &'static str, text: &str) -> Result<Option<u32>, UserError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let out_of_range = || UserError::OutOfRange { what, value: text.to_owned() };
    number(text.as_bytes()).map(Some).ok_or_else(out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# note\nbroken\n\nweb:x:33:33::/var/www:\n1234:x:7:7::/seven:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:root\nwheel:x:10:root, web\nweb:x:33:\nstaff:x:50:web,root\nwheel2:x:10:web\n";

    fn resolve(spec: &str) -> Result<Ids, UserError> {
        resolve_user(spec, Some(PASSWD), Some(GROUP))
    }

    fn ids(uid: u32, gid: u32, groups: &[u32]) -> Result<Ids, UserError> {
        Ok(Ids { uid, gid, groups: groups.to_vec() })
    }

    #[test]
    fn a_name_brings_its_group_and_all_groups_that_list_it() {
        assert_eq!(resolve("web"), ids(33, 33, &[33, 10, 50]));
        assert_eq!(resolve("33"), ids(33, 33, &[33, 10, 50]));
        assert_eq!(resolve("root"), ids(0, 0, &[0, 10, 50]));
        assert_eq!(resolve_user("0", None, None), ids(0, 0, &[0]));
    }

    #[test]
    fn a_group_that_is_given_is_the_only_one() {
        assert_eq!(resolve("web:staff"), ids(33, 50, &[50]));
        assert_eq!(resolve("4000:4001"), ids(4000, 4001, &[4001]));
    }

    #[test]
    fn a_number_is_never_a_name() {
        assert_eq!(resolve("1234"), ids(1234, 0, &[0]));
        assert!(matches!(resolve("4294967295"), Err(UserError::OutOfRange { what: "uid", .. })));
        assert!(matches!(resolve("0:99999999999"), Err(UserError::OutOfRange { what: "gid", .. })));
    }

    #[test]
    fn nobody_is_an_error_that_names_the_file() {
        assert_eq!(resolve("ghost").unwrap_err().to_string(), r#"no user "ghost" in the image's /etc/passwd"#);
        assert_eq!(resolve("web:ghost").unwrap_err().to_string(), r#"no group "ghost" in the image's /etc/group"#);
        assert!(matches!(resolve(""), Err(UserError::Empty { .. })));
        assert!(matches!(resolve("web:"), Err(UserError::Empty { .. })));
    }

    #[test]
    fn a_home_is_found_by_number() {
        let passwd = Passwd::new(Some(PASSWD));
        assert_eq!(passwd.home(33), Some(&b"/var/www"[..]));
        assert_eq!(passwd.home(99), None);
        assert_eq!(Passwd::new(None).home(0), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(spec in ".{0,12}", passwd: Vec<u8>, group: Vec<u8>) {
            let _ = resolve_user(&spec, Some(&passwd), Some(&group));
            let _ = Passwd::new(Some(&passwd)).home(0);
        }
    }
}
