//! Threads of one process as ranks. They hold what ranks promise in tests, without MPI.

use super::Ranks;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// A rank that is a thread.
///
/// ```
/// use bilevel::ranks::{Ranks, Threads};
///
/// let work = |rank: Threads| rank.gather(&[rank.rank() as u8]).concat();
/// let seen: Vec<Vec<u8>> = std::thread::scope(|scope| {
///     let threads: Vec<_> = Threads::new(3).into_iter().map(|rank| scope.spawn(|| work(rank))).collect();
///     threads.into_iter().map(|thread| thread.join().unwrap()).collect()
/// });
/// assert_eq!(seen, [[0, 1, 2]; 3]);
/// ```
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    /// To and from each rank, this one included.
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    to: Sender<Vec<u8>>,
    from: Mutex<Receiver<Vec<u8>>>,
}

impl Threads {
    /// The ranks of `count` threads, one for each.
    pub fn new(count: usize) -> Vec<Self> {
        let mut receivers: Vec<Vec<Receiver<Vec<u8>>>> = (0..count).map(|_| Vec::new()).collect();
        let senders: Vec<Vec<Sender<Vec<u8>>>> = (0..count)
            .map(|_| {
                let link = |from: &mut Vec<_>| {
                    let (sender, receiver) = channel();
                    from.push(receiver);
                    sender
                };
                receivers.iter_mut().map(link).collect()
            })
            .collect();
        let link = |(to, from)| Link { to, from: Mutex::new(from) };
        let links =
            senders.into_iter().zip(receivers).map(|(to, from)| to.into_iter().zip(from).map(link).collect());
        links.enumerate().map(|(rank, links)| Self { rank, links }).collect()
    }
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.links.len()
    }

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        assert_eq!(parts.len(), self.count(), "there must be one part for each rank");
        for (rank, (link, part)) in self.links.iter().zip(parts).enumerate() {
            assert!(link.to.send(part).is_ok(), "rank {rank} has ended");
        }
        let receive = |(rank, link): (usize, &Link)| {
            let received = link.from.lock().unwrap_or_else(PoisonError::into_inner).recv();
            received.unwrap_or_else(|_| panic!("rank {rank} has ended"))
        };
        self.links.iter().enumerate().map(receive).collect()
    }
}
