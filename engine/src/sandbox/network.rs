//! Whether a step talks to another machine: told by the kernel of each call that could begin it.
//!
//! The address is read from the caller's memory and the call goes on with what is there then. One
//! thread alone cannot change it in between; a process with several is believed to have. Knows
//! nothing of what follows from it.

use super::seccomp::{Calls, NATIVE_CALLS};
use super::sys::{self, Told};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// What is known of a step's network use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Network {
    /// It has made a socket that could reach another machine.
    has_socket: bool,
    /// It talked, or may have talked, to another machine.
    pub(super) used: bool,
}

/// How an ABI lays out what a call's arguments point to.
struct Layout {
    calls: &'static Calls,
    /// Bytes of a pointer.
    word: usize,
}

/// `AUDIT_ARCH_I386`.
#[cfg(target_arch = "x86_64")]
const I386: u32 = 0x4000_0003;

fn layout(architecture: u32) -> Layout {
    #[cfg(target_arch = "x86_64")]
    if architecture == I386 {
        return Layout { calls: &super::seccomp::I386_CALLS, word: 4 };
    }
    let _ = architecture;
    Layout { calls: &NATIVE_CALLS, word: 8 }
}

/// A call by any ABI: its name in the numbering of `socketcall(2)`, and its arguments.
struct Call {
    kind: u64,
    arguments: [u64; 6],
}

const SOCKET: u64 = 1;
const CONNECT: u64 = 3;
const SENDTO: u64 = 11;
const SENDMSG: u64 = 16;
const SENDMMSG: u64 = 20;

/// More messages at once than this are not looked through.
const MESSAGES: u64 = 64;

impl Network {
    /// Takes one call, judges it and lets it go on.
    pub(super) fn serve(&mut self, listener: BorrowedFd<'_>) {
        match sys::receive_told(listener) {
            Ok(told) => {
                self.judge(&told);
                // Fails where the caller was killed meanwhile.
                let _ = sys::let_go_on(listener, told.id);
            }
            // The caller was killed before it was read.
            Err(Errno::NOENT | Errno::INTR) => {}
            Err(_) => self.used = true,
        }
    }

    fn judge(&mut self, told: &Told) {
        if self.used {
            return;
        }
        let layout = layout(told.architecture);
        // What cannot be read may be anything.
        let reaches = call(told, &layout).and_then(|call| self.reaches(told.pid, &call, &layout));
        self.used |= reaches.unwrap_or(true);
    }

    fn reaches(&mut self, pid: u32, call: &Call, layout: &Layout) -> Result<bool, Errno> {
        let [_, second, third, _, fifth, sixth] = call.arguments;
        match call.kind {
            SOCKET => {
                let reaches = !is_plain(call.arguments);
                self.has_socket |= reaches || is_internet(call.arguments[0]);
                Ok(reaches)
            }
            // Without such a socket the address can only be one of this machine.
            _ if !self.has_socket => Ok(false),
            CONNECT => is_elsewhere(pid, second, third),
            SENDTO if fifth == 0 => Ok(false),
            SENDTO => is_elsewhere(pid, fifth, sixth),
            SENDMSG => message_is_elsewhere(pid, second, layout),
            SENDMMSG if third > MESSAGES => Ok(true),
            SENDMMSG => {
                // A message is followed by the length that was sent, and padded to a word.
                let size = if layout.word == 8 { 64 } else { 32 };
                for index in 0..third {
                    if message_is_elsewhere(pid, second + index * size, layout)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

fn call(told: &Told, layout: &Layout) -> Result<Call, Errno> {
    let number = told.number.cast_unsigned();
    let calls = layout.calls;
    if calls.socketcall == Some(number) {
        let mut words = [0; 24];
        let [kind, address, ..] = told.arguments;
        // Fewer than six may be there, at the end of a page; what counts is at most the first six.
        let count = match kind {
            SOCKET | CONNECT | SENDMSG => 12,
            SENDMMSG => 16,
            SENDTO => 24,
            _ => 0,
        };
        let words = &mut words[..count];
        sys::read_memory(told.pid, address, words)?;
        let mut arguments = [0; 6];
        for (argument, word) in arguments.iter_mut().zip(words.chunks_exact(4)) {
            *argument = u64::from(u32::from_ne_bytes(word.try_into().map_err(|_| Errno::FAULT)?));
        }
        return Ok(Call { kind, arguments });
    }
    let kinds = [
        (calls.socket, SOCKET),
        (calls.connect, CONNECT),
        (calls.sendto, SENDTO),
        (calls.sendmsg, SENDMSG),
        (calls.sendmmsg, SENDMMSG),
    ];
    let kind = kinds.iter().find(|(other, _)| *other == number).map_or(0, |(_, kind)| *kind);
    Ok(Call { kind, arguments: told.arguments })
}

fn is_internet(family: u64) -> bool {
    const AF_INET: u64 = 2;
    const AF_INET6: u64 = 10;
    [AF_INET, AF_INET6].contains(&(family & 0xffff_ffff))
}

/// Whether a socket reaches others only by an address that a later call names.
fn is_plain([family, _, protocol, ..]: [u64; 6]) -> bool {
    /// The usual one, ICMP, TCP, UDP, ICMP for IPv6, UDP-Lite, multipath TCP.
    const PROTOCOLS: [u64; 7] = [0, 1, 6, 17, 58, 136, 262];
    const LOCAL: [u64; 3] = [1, 16, 38];
    let family = family & 0xffff_ffff;
    LOCAL.contains(&family) || (is_internet(family) && PROTOCOLS.contains(&(protocol & 0xffff_ffff)))
}

/// Whether a message names an address of another machine.
fn message_is_elsewhere(pid: u32, address: u64, layout: &Layout) -> Result<bool, Errno> {
    let mut head = [0; 12];
    let head = &mut head[..layout.word + 4];
    sys::read_memory(pid, address, head)?;
    let (name, length) = head.split_at(layout.word);
    let mut pointer = [0; 8];
    pointer[..layout.word].copy_from_slice(name);
    let length = u32::from_ne_bytes(length.try_into().map_err(|_| Errno::FAULT)?);
    match u64::from_ne_bytes(pointer) {
        0 => Ok(false),
        pointer => is_elsewhere(pid, pointer, length.into()),
    }
}

fn is_elsewhere(pid: u32, address: u64, length: u64) -> Result<bool, Errno> {
    /// `struct sockaddr_in6`.
    const LONGEST: usize = 28;
    let length = usize::try_from(length & 0xffff_ffff).unwrap_or(LONGEST).min(LONGEST);
    let mut bytes = [0; LONGEST];
    let bytes = &mut bytes[..length];
    if length > 0 {
        sys::read_memory(pid, address, bytes)?;
    }
    Ok(names_elsewhere(bytes) || threads(pid) != Some(1))
}

/// Whether an address is one of another machine, or may be.
fn names_elsewhere(bytes: &[u8]) -> bool {
    /// A resolver on this machine asks others.
    const DOMAIN: u16 = 53;
    let Some(family) = bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)) else { return false };
    if !is_internet(family.into()) {
        return false;
    }
    let Some(port) = bytes.get(2..4).and_then(|port| Some(u16::from_be_bytes(*port.first_chunk()?))) else {
        return true;
    };
    let four = bytes.get(4..).and_then(|rest| Some(Ipv4Addr::from(*rest.first_chunk::<4>()?)));
    let six = bytes.get(8..).and_then(|rest| Some(Ipv6Addr::from(*rest.first_chunk::<16>()?)));
    let address = if family == 2 { four.map(IpAddr::V4) } else { six.map(|six| six.to_canonical()) };
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    port == DOMAIN || !address.is_some_and(is_here)
}

/// How many threads a process has; `None` where that cannot be read.
fn threads(pid: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(address: [u8; 4], port: u16) -> Vec<u8> {
        [&2u16.to_ne_bytes()[..], &port.to_be_bytes(), &address, &[0; 8]].concat()
    }

    fn six(address: &str, port: u16) -> Vec<u8> {
        let address: Ipv6Addr = address.parse().unwrap();
        [&10u16.to_ne_bytes()[..], &port.to_be_bytes(), &[0; 4], &address.octets(), &[0; 4]].concat()
    }

    #[test]
    fn only_this_machine_is_here_and_a_resolver_never_is() {
        for here in [four([127, 0, 0, 1], 80), four([127, 9, 9, 9], 80), four([0; 4], 80), six("::1", 1)] {
            assert!(!names_elsewhere(&here));
        }
        assert!(!names_elsewhere(&six("::ffff:127.0.0.1", 80)));
        assert!(!names_elsewhere(&[1, 0, b'/', b's']) && !names_elsewhere(&[0, 0]) && !names_elsewhere(&[]));
        for there in [four([10, 0, 0, 1], 80), four([127, 0, 0, 53], 53), six("2001:db8::1", 80), vec![2, 0, 0]] {
            assert!(names_elsewhere(&there));
        }
        assert!(names_elsewhere(&six("::ffff:10.0.0.1", 80)));
    }

    #[test]
    fn a_raw_socket_reaches_others_at_once_and_a_plain_one_by_an_address() {
        assert!(is_plain([2, 1, 0, 0, 0, 0]) && is_plain([10, 2, 17, 0, 0, 0]) && is_plain([1, 1, 0, 0, 0, 0]));
        assert!(!is_plain([2, 3, 255, 0, 0, 0]) && !is_plain([17, 3, 0, 0, 0, 0]) && !is_plain([2, 1, 132, 0, 0, 0]));
    }

    #[test]
    fn this_process_has_threads() {
        assert!(threads(std::process::id()).is_some_and(|count| count >= 1));
        assert_eq!(threads(u32::MAX), None);
    }
}
