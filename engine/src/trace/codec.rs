//! The encoding of a trace, version 1.
//!
//! Numbers are little-endian; `bytes` are a u32 length and that many bytes.
//!
//! `kilntrc1 · u8 networked · bytes incomplete · u32 count · space*`, where `incomplete` is empty for a
//! complete trace and a space is
//!
//! `bytes name · u32 count · (32 bytes layer)* · u32 count · dependency*`
//!
//! A dependency is `u8 aspect · u16 shared · u16 length · length bytes · 32 bytes state`: its path is the
//! first `shared` bytes of the one before and the bytes that follow. Aspects: 1 entry, 2 content,
//! 3 listing, 4 subtree.

use super::{Aspect, Dependency, Space, State, Trace};
use crate::digest::LayerId;
use crate::tree::TreePath;

const MAGIC: &[u8; 8] = b"kilntrc1";

/// A trace that cannot be read: the store is damaged, or another version wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("trace damaged at byte {at}")]
pub struct DecodeError {
    /// Where reading stopped.
    pub at: usize,
}

fn aspect_number(aspect: Aspect) -> u8 {
    match aspect {
        Aspect::Entry => 1,
        Aspect::Content => 2,
        Aspect::Listing => 3,
        Aspect::Subtree => 4,
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // A trace has as many dependencies as a step can look at paths: memory ends before the number does.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The trace as it is kept.
pub fn encode(trace: &Trace) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + trace.len() * 56);
    out.extend_from_slice(MAGIC);
    out.push(u8::from(trace.networked));
    put_bytes(&mut out, trace.incomplete.as_deref().unwrap_or_default().as_bytes());
    put_count(&mut out, trace.spaces.len());
    for space in &trace.spaces {
        put_bytes(&mut out, space.name.as_bytes());
        put_count(&mut out, space.layers.len());
        space.layers.iter().for_each(|layer| out.extend_from_slice(layer.as_bytes()));
        put_count(&mut out, space.dependencies.len());
        let mut before: &[u8] = &[];
        for Dependency { path, aspect, state } in &space.dependencies {
            let path = path.as_bytes();
            let shared = before.iter().zip(path).take_while(|(a, b)| a == b).count().min(usize::from(u16::MAX));
            let rest = &path[shared..];
            out.push(aspect_number(*aspect));
            // The kernel takes no path longer than 4096 bytes.
            out.extend_from_slice(&(shared as u16).to_le_bytes());
            out.extend_from_slice(&(rest.len() as u16).to_le_bytes());
            out.extend_from_slice(rest);
            out.extend_from_slice(&state.0);
            before = path;
        }
    }
    out
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.data.get(self.at..).and_then(|rest| rest.get(..length)).ok_or(DecodeError { at: self.at })?;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| DecodeError { at })
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > (self.data.len() - self.at) / least { Err(DecodeError { at }) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError { at })
    }

    fn dependency(&mut self, path: &mut Vec<u8>) -> Result<Dependency, DecodeError> {
        let at = self.at;
        let damaged = DecodeError { at };
        let aspect = match self.array::<1>()? {
            [1] => Aspect::Entry,
            [2] => Aspect::Content,
            [3] => Aspect::Listing,
            [4] => Aspect::Subtree,
            _ => return Err(damaged),
        };
        let shared = usize::from(u16::from_le_bytes(self.array()?));
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if shared > path.len() {
            return Err(damaged);
        }
        path.truncate(shared);
        path.extend_from_slice(self.take(length)?);
        let state = State(self.array()?);
        let path = TreePath::from_clean(path).ok_or(damaged)?;
        Ok(Dependency { path, aspect, state })
    }
}

/// Reads what [`encode`] wrote.
pub fn decode(data: &[u8]) -> Result<Trace, DecodeError> {
    let mut reader = Reader { data, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(DecodeError { at: 0 });
    }
    let networked = reader.array::<1>()?[0] != 0;
    let incomplete = Some(reader.text()?).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut spaces = Vec::new();
    for _ in 0..reader.count(12)? {
        let name = reader.text()?.into();
        let layers = (0..reader.count(32)?).map(|_| Ok(LayerId::from_bytes(reader.array()?)));
        let layers = layers.collect::<Result<_, DecodeError>>()?;
        let count = reader.count(37)?;
        let mut dependencies: Vec<Dependency> = Vec::with_capacity(count);
        let mut path = Vec::new();
        for _ in 0..count {
            let at = reader.at;
            let next = reader.dependency(&mut path)?;
            // Looking them up goes through both lists once and relies on the order.
            if dependencies.last().is_some_and(|last| (&last.path, last.aspect) >= (&next.path, next.aspect)) {
                return Err(DecodeError { at });
            }
            dependencies.push(next);
        }
        spaces.push(Space { name, layers, dependencies });
    }
    if reader.at != data.len() {
        return Err(DecodeError { at: reader.at });
    }
    Ok(Trace { spaces, networked, incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Trace {
        let one = |path: &str, aspect, byte| Dependency { path: TreePath::new(path), aspect, state: State([byte; 32]) };
        let dependencies = vec![
            one("", Aspect::Listing, 1),
            one("etc", Aspect::Entry, 2),
            one("etc/passwd", Aspect::Content, 3),
            one("usr", Aspect::Subtree, 4),
        ];
        let space = Space { name: "".into(), layers: vec![LayerId::from_bytes([9; 32])], dependencies };
        let mount = Space { name: "/mnt".into(), layers: Vec::new(), dependencies: Vec::new() };
        Trace { spaces: vec![space, mount], networked: true, incomplete: Some("because".into()) }
    }

    /// A change here makes every trace unreadable: raise the version in the magic instead.
    #[test]
    fn a_known_trace_has_known_bytes() {
        let digest = blake3::hash(&encode(&sample())).to_hex().to_string();
        assert_eq!(digest, "3b51bd5ac0e2cfbbc0118bfcea13b905c208d7f59fc9bafd1e0ff70b66c3cd84");
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(&encode(&Trace::default())), Ok(Trace::default()));
    }

    proptest! {
        #[test]
        fn damaged_data_is_refused_and_never_panics(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut data = encode(&sample());
            let at = at % data.len();
            data[at] = byte;
            let _ = decode(&data);
            data.truncate(cut % (data.len() + 1));
            let _ = decode(&data);
        }
    }
}
