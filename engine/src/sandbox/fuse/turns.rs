//! Who waits for the kernel's questions and answers them: a thread anywhere, or one right beside the program that asks.
//!
//! Asking and answering are done in turns. On two processors each turn wakes one that sleeps, which takes longer than
//! the answer does, in a virtual machine ten times as long. So a thread that asks again and again is answered on its own
//! processor, by a second thread that goes after all others: the kernel takes a processor on which nothing else is ready
//! for idle, and lets the asker stay there. Where something else is ready, the first thread takes over. Knows nothing of
//! what is asked.

use super::protocol::Header;
use super::serve::{Ended, Server};
use crate::sandbox::sys;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for one question: only names and attribute names come in.
const QUESTION_BYTES: usize = 64 * 1024;
/// How long the near thread waits for a further question before it leaves.
const NEAR_WAITS: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// How often the far thread looks whether the near one comes on.
const FAR_LOOKS: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// After how many looks without an answer the near thread is believed to be held up wherever it is.
const LOOKS_MOST: u32 = 4;
/// After how many questions the near thread looks where the asker is.
const QUESTIONS_BETWEEN_LOOKS: u32 = 16;

/// What both threads share.
struct Desk {
    device: OwnedFd,
    server: Mutex<Server>,
    /// Readable for good once the step has ended, or a thread has failed.
    stop: Arc<OwnedFd>,
    /// Counts the shifts: odd while the near thread answers.
    shift: AtomicU64,
    /// Tells the near thread that its shift begins.
    begins: OwnedFd,
    /// Tells the far thread that the near one has ended its shift by itself.
    ends: OwnedFd,
    /// How many questions the near thread has answered.
    answers: AtomicU64,
    /// Whom the near thread is called for.
    asker: AtomicU32,
    /// The near thread's number, once it has one.
    near: AtomicI32,
}

/// What became of an attempt to take a question.
enum Turn {
    /// It was answered; who asked.
    Answered(u32),
    /// There is none now.
    Empty,
    /// There will be none any more.
    Over,
}

/// What was waited for.
#[derive(PartialEq, Eq)]
enum Woken {
    Stop,
    Ready,
    TimeOut,
}

/// Answers until the file system is unmounted or `stop` becomes readable. `None` where it failed.
pub(super) fn serve(device: OwnedFd, stop: Arc<OwnedFd>, server: Server) -> Option<Ended> {
    let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let (Ok(begins), Ok(ends)) = (event(), event()) else { return None };
    let desk = Arc::new(Desk {
        device,
        server: Mutex::new(server),
        stop,
        shift: AtomicU64::new(0),
        begins,
        ends,
        answers: AtomicU64::new(0),
        asker: AtomicU32::new(0),
        near: AtomicI32::new(0),
    });
    let near = far(&desk);
    if let Some(near) = near {
        // It may have been told by nobody: the file system is gone.
        desk.tell(&desk.stop);
        let _failed = near.join();
    }
    Arc::into_inner(desk)?.server.into_inner().ok().map(Server::end)
}

/// The thread that is there from the beginning; gives the near one, if there came to be one.
fn far(desk: &Arc<Desk>) -> Option<JoinHandle<()>> {
    let _guard = Guard(desk);
    let everywhere = sched_getaffinity(None);
    let mut room = vec![0; QUESTION_BYTES];
    let mut burst = Burst::default();
    let mut near: Option<JoinHandle<()>> = None;
    loop {
        match desk.turn(&mut room, |_| ()) {
            Turn::Answered(asker) => {
                let Ok(everywhere) = &everywhere else { continue };
                if !burst.grows(asker, Instant::now()) {
                    continue;
                }
                let thread = || {
                    let desk = Arc::clone(desk);
                    let name = "kiln-watch-near".to_owned();
                    std::thread::Builder::new().name(name).spawn(move || near_thread(&desk))
                };
                if near.is_none() {
                    near = thread().ok();
                }
                // One that has ended could not do what it is for, and will not be able to.
                if near.as_ref().is_some_and(|near| !near.is_finished())
                    && !desk.let_near(asker, everywhere, &mut burst)
                {
                    return near;
                }
            }
            Turn::Empty if desk.wait(&desk.device, None) == Woken::Stop => return near,
            Turn::Empty => {}
            Turn::Over => return near,
        }
    }
}

impl Desk {
    /// Nobody stops answering because another thread failed while it did: the step would wait for ever.
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: &OwnedFd) {
        // Cannot fail: the counter is far from full.
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }

    fn forget(event: &OwnedFd) {
        let _ = rustix::io::read(event, &mut [0u8; 8]);
    }

    /// Takes a question, if there is one, and answers it.
    fn turn(&self, room: &mut [u8], before: impl FnOnce(u32)) -> Turn {
        match rustix::io::read(&self.device, &mut *room) {
            Ok(length) => {
                let Some((header, body)) = room.get(..length).and_then(Header::parse) else { return Turn::Answered(0) };
                before(header.asker);
                self.server().answer(&self.device, header, body);
                Turn::Answered(header.asker)
            }
            Err(Errno::AGAIN) => Turn::Empty,
            // A question was withdrawn before it was read.
            Err(Errno::INTR | Errno::NOENT) => Turn::Answered(0),
            // Unmounted.
            Err(Errno::NODEV) => Turn::Over,
            Err(errno) => {
                self.server().note(format!("reading the kernel's questions failed: {errno}"));
                Turn::Over
            }
        }
    }

    /// Waits until `ready` can be read, or all is over.
    fn wait(&self, ready: &OwnedFd, at_most: Option<&Timespec>) -> Woken {
        let mut fds = [readable(ready), readable(&self.stop)];
        match poll(&mut fds, at_most) {
            Ok(_) if !fds[1].revents().is_empty() => Woken::Stop,
            Ok(0) => Woken::TimeOut,
            Ok(_) | Err(Errno::INTR) => Woken::Ready,
            Err(errno) => {
                self.server().note(format!("waiting for the kernel failed: {errno}"));
                Woken::Stop
            }
        }
    }

    /// Ends a shift, once.
    fn end(&self, shift: u64) -> bool {
        self.shift.compare_exchange(shift, shift + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Lets the near thread answer until it has nothing to do or is held up; `false` where all is over.
    fn let_near(&self, asker: u32, everywhere: &CpuSet, burst: &mut Burst) -> bool {
        Desk::forget(&self.ends);
        self.asker.store(asker, Ordering::Relaxed);
        let shift = self.shift.fetch_add(1, Ordering::AcqRel) + 1;
        self.tell(&self.begins);
        let (mut answers, mut looks) = (self.answers.load(Ordering::Relaxed), 0);
        loop {
            match self.wait(&self.ends, Some(&FAR_LOOKS)) {
                Woken::Stop => return false,
                Woken::Ready if self.shift.load(Ordering::Acquire) != shift => {
                    burst.served();
                    return true;
                }
                Woken::Ready => {}
                Woken::TimeOut => {
                    let now = self.answers.load(Ordering::Relaxed);
                    looks = if now == answers { looks + 1 } else { 0 };
                    answers = now;
                    if looks == LOOKS_MOST || (looks > 0 && self.is_waited_for()) {
                        self.end(shift);
                        // It may hold what the next answer needs: let it go on wherever there is room.
                        if let Some(near) = Pid::from_raw(self.near.load(Ordering::Relaxed)) {
                            let _ = sched_setaffinity(Some(near), everywhere);
                        }
                        burst.held_up();
                        return true;
                    }
                }
            }
        }
    }

    /// Whether a question lies there, or is being answered.
    fn is_waited_for(&self) -> bool {
        matches!(self.server.try_lock(), Err(TryLockError::WouldBlock))
            || matches!(poll(&mut [readable(&self.device)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }
}

/// Should a thread fail, the other one ends too: then the device is closed, and nobody waits for what was asked.
struct Guard<'a>(&'a Desk);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.tell(&self.0.stop);
        }
    }
}

fn readable(descriptor: &OwnedFd) -> PollFd<'_> {
    let descriptor: BorrowedFd<'_> = descriptor.as_fd();
    PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
}

/// The thread that answers beside whoever asks, when it is called.
fn near_thread(desk: &Desk) {
    let _guard = Guard(desk);
    desk.near.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    if sys::go_after_all_others().is_err() {
        return;
    }
    let mut room = vec![0; QUESTION_BYTES];
    while desk.wait(&desk.begins, None) != Woken::Stop {
        Desk::forget(&desk.begins);
        let shift = desk.shift.load(Ordering::Acquire);
        if shift.is_multiple_of(2) {
            continue;
        }
        let goes_on = near_shift(desk, shift, &mut room);
        if desk.end(shift) {
            desk.tell(&desk.ends);
        }
        if !goes_on {
            return;
        }
    }
}

/// Answers until the shift is ended or nobody asks; `false` where this thread is of no use any more.
fn near_shift(desk: &Desk, shift: u64, room: &mut [u8]) -> bool {
    let mut place = Beside::default();
    place.follow(desk.asker.load(Ordering::Relaxed));
    while place.is_known && desk.shift.load(Ordering::Acquire) == shift {
        match desk.turn(room, |asker| place.follow(asker)) {
            Turn::Answered(_) => {
                desk.answers.fetch_add(1, Ordering::Relaxed);
            }
            Turn::Empty => match desk.wait(&desk.device, Some(&NEAR_WAITS)) {
                Woken::Ready => {}
                Woken::TimeOut => return true,
                Woken::Stop => return false,
            },
            Turn::Over => return false,
        }
    }
    place.is_known
}

/// Keeps this thread on the processor of the one that asks.
struct Beside {
    asker: u32,
    processor: Option<usize>,
    /// Questions since the last look.
    questions: u32,
    /// Whether it can be done at all.
    is_known: bool,
}

impl Default for Beside {
    fn default() -> Self {
        Beside { asker: 0, processor: None, questions: QUESTIONS_BETWEEN_LOOKS, is_known: true }
    }
}

impl Beside {
    /// Looks now and then where the asker is, and goes there.
    fn follow(&mut self, asker: u32) {
        self.questions += 1;
        // Two that ask in turns are not followed to and fro.
        let is_another = asker != self.asker && self.questions > 2;
        if !is_another && self.questions <= QUESTIONS_BETWEEN_LOOKS {
            return;
        }
        (self.asker, self.questions) = (asker, 0);
        // One that is gone, or is none of this namespace, tells nothing new.
        let Ok(stat) = fs::read_to_string(format!("/proc/{asker}/stat")) else { return };
        let processor = processor_of(&stat);
        if processor == self.processor {
            return;
        }
        self.is_known = processor.is_some_and(stay_on);
        self.processor = processor;
    }
}

/// Makes this thread run there only.
fn stay_on(processor: usize) -> bool {
    let mut there = CpuSet::new();
    if processor < CpuSet::MAX_CPU {
        there.set(processor);
    }
    sched_setaffinity(None, &there).is_ok()
}

/// The processor that a thread ran on last, by its `/proc/PID/stat`: field 39 of `proc_pid_stat(5)`.
fn processor_of(stat: &str) -> Option<usize> {
    // The second field is a name, which may hold anything; the third follows the last parenthesis.
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_ascii_whitespace().nth(39 - 3)?.parse().ok()
}

/// Whether one thread asks again and again.
struct Burst {
    asker: u32,
    questions: u32,
    last: Option<Instant>,
    /// So many are enough to call the near thread.
    enough: u32,
}

impl Burst {
    const LEAST: u32 = 16;
    const MOST: u32 = 1 << 16;
    /// Questions further apart are not asked one after the other.
    const APART: Duration = Duration::from_millis(1);

    /// Counts a question; whether these are enough now.
    fn grows(&mut self, asker: u32, now: Instant) -> bool {
        let is_next = self.last.is_some_and(|last| now.saturating_duration_since(last) < Self::APART);
        let goes_on = asker != 0 && asker == self.asker && is_next;
        (self.asker, self.last) = (asker, Some(now));
        self.questions = if goes_on { self.questions + 1 } else { 1 };
        let enough = self.questions >= self.enough;
        if enough {
            self.questions = 0;
        }
        enough
    }

    /// The near thread did what it was called for.
    fn served(&mut self) {
        self.enough = (self.enough / 2).max(Self::LEAST);
    }

    /// It did not: the processors are wanted by others.
    fn held_up(&mut self) {
        self.enough = (self.enough * 4).min(Self::MOST);
    }
}

impl Default for Burst {
    fn default() -> Self {
        Burst { asker: 0, questions: 0, last: None, enough: Self::LEAST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_thread_is_called_for_one_that_asks_again_and_again() {
        let mut burst = Burst::default();
        let start = Instant::now();
        let mut asks = |asker: u32, after: u64| burst.grows(asker, start + Duration::from_micros(after));
        let called = |asks: &mut dyn FnMut(u32, u64) -> bool, asker: u32, from: u64, every: u64| {
            (0..100).position(|n| asks(asker, from + n * every)).map(|n| n + 1)
        };
        assert_eq!(called(&mut asks, 7, 0, 10), Some(16));
        assert_eq!(called(&mut asks, 7, 10_000, 1000), None, "these are seldom");
        assert_eq!(called(&mut asks, 0, 200_000, 10), None, "nobody knows where that one is");
        assert!((0..100).all(|n| !asks(7 + (n % 2) as u32, 300_000 + n * 10)), "two in turns");
    }

    #[test]
    fn it_is_called_more_seldom_where_it_was_held_up() {
        let mut burst = Burst::default();
        burst.held_up();
        assert_eq!(burst.enough, 64);
        (0..20).for_each(|_| burst.held_up());
        assert_eq!(burst.enough, Burst::MOST);
        (0..20).for_each(|_| burst.served());
        assert_eq!(burst.enough, Burst::LEAST);
    }

    #[test]
    fn where_a_thread_runs_is_found_whatever_its_name_is() {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        assert!(processor_of(&stat).is_some_and(|processor| processor < CpuSet::MAX_CPU), "{stat}");
        let (number, rest) = stat.split_once(' ').unwrap();
        let (_, rest) = rest.rsplit_once(')').unwrap();
        assert_eq!(processor_of(&format!("{number} (a) b (c) 1 2){rest}")), processor_of(&stat));
        assert_eq!(processor_of("1 (sh) S 2"), None);
        assert_eq!(processor_of(""), None);
    }
}
