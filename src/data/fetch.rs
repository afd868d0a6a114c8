//! Downloading the official archives: resumed where it stopped, and checked before it counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use md5::{Digest, Md5};
use ureq::Agent;
use ureq::http::StatusCode;
use ureq::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};

use super::Error;
use crate::hex::hex;

/// Where Omniglot's authors keep [`OMNIGLOT`].
pub const OMNIGLOT_URL: &str = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/";

/// Omniglot's two official archives.
pub const OMNIGLOT: [Remote; 2] = [
    Remote { name: "images_background.zip", md5: "68d2efa1b9178cc56df9314c21c6e718" },
    Remote { name: "images_evaluation.zip", md5: "6b91aef0f799c5bb55b94e3f2daec811" },
];

/// A mirror that keeps [`MNIST`] as its authors published it.
pub const MNIST_URL: &str = "https://ossci-datasets.s3.amazonaws.com/mnist/";

/// MNIST's four official files.
pub const MNIST: [Remote; 4] = [
    Remote { name: "train-images-idx3-ubyte.gz", md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873" },
    Remote { name: "train-labels-idx1-ubyte.gz", md5: "d53e105ee54ea40749a09fcbcd1e9432" },
    Remote { name: "t10k-images-idx3-ubyte.gz", md5: "9fb629c4189551a2d022fa330f9573f3" },
    Remote { name: "t10k-labels-idx1-ubyte.gz", md5: "ec29112dd5afa0611ce80d1b7f02629c" },
];

/// How often in a row a transfer may fail without bringing a single new byte.
const FAILURES: u32 = 3;
/// The wait after the first such failure; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// The most bytes of a file; the official ones have less than 10 MB.
const MOST_BYTES: u64 = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// A file to download.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Its name below the base address, and in the local folder.
    pub name: &'static str,
    /// The checksum that it must have, in lower-case hexadecimal.
    pub md5: &'static str,
}

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes on disk.
    pub done: u64,
    /// Bytes of the whole file, if the server tells.
    pub total: Option<u64>,
    /// Bytes that were on disk when the present transfer began.
    pub resumed_from: u64,
}

/// Downloads `files` from below `base_url` into the folder `into`, which is created if need be, and
/// returns their paths. A file that is already there is not downloaded again.
///
/// What has arrived is kept in `NAME.part`, and a later call goes on from there.
///
/// # Errors
/// If the address cannot be reached or lacks the file, the connection keeps breaking, a checksum
/// is wrong, the folder cannot be written, or it holds another file of that name.
pub fn fetch(
    base_url: &str,
    files: &[Remote],
    into: &Path,
    progress: &dyn Fn(Progress),
) -> Result<Vec<PathBuf>, Error> {
    fs::create_dir_all(into).map_err(Error::io("create the folder", into))?;
    let agent = Agent::new_with_config(
        Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .build(),
    );
    files
        .iter()
        .map(|remote| {
            let path = into.join(remote.name);
            if path.exists() {
                let found = md5_of(&path)?;
                return if found == remote.md5 {
                    Ok(path)
                } else {
                    Err(Error::Different { path, found, expected: remote.md5 })
                };
            }
            let url = format!("{}/{}", base_url.trim_end_matches('/'), remote.name);
            let part = into.join(format!("{}.part", remote.name));
            Download { agent: &agent, url, part, remote: *remote, progress }.finish(&path)?;
            Ok(path)
        })
        .collect()
}

/// One file on its way.
struct Download<'a> {
    agent: &'a Agent,
    url: String,
    part: PathBuf,
    remote: Remote,
    progress: &'a dyn Fn(Progress),
}

/// Why a transfer ended early.
enum Stop {
    /// Trying again may help.
    Dropped(String),
    /// It will not.
    Hopeless(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Hopeless(error)
    }
}

impl Download<'_> {
    /// Transfers until all is here, then checks it and moves it to `path`.
    fn finish(&self, path: &Path) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let before = self.done();
            match self.transfer(before) {
                Ok(()) => break,
                Err(Stop::Hopeless(error)) => return Err(error),
                Err(Stop::Dropped(reason)) => {
                    let done = self.done();
                    failures = if done > before { 0 } else { failures + 1 };
                    if failures >= FAILURES {
                        let url = self.url.clone();
                        return Err(match done {
                            0 => Error::Connection { url, reason },
                            done => Error::Interrupted { url, done, reason },
                        });
                    }
                    sleep(PAUSE * (1 << failures));
                }
            }
        }
        let found = md5_of(&self.part)?;
        if found != self.remote.md5 {
            self.discard()?;
            return Err(Error::Checksum { url: self.url.clone(), found, expected: self.remote.md5 });
        }
        fs::rename(&self.part, path).map_err(Error::io("rename the finished download", &self.part))
    }

    /// Bytes that have arrived so far.
    fn done(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    fn discard(&self) -> Result<(), Error> {
        fs::remove_file(&self.part).map_err(Error::io("remove", &self.part))
    }

    /// Asks for what lies beyond the first `have` bytes and appends it to the part.
    fn transfer(&self, have: u64) -> Result<(), Stop> {
        // Compressed on the way, a range would count other bytes than the file's.
        let mut request = self.agent.get(&self.url).header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|error| self.unanswered(&error))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if !range.is_some_and(|range| range.starts_with(&format!("bytes {have}-"))) {
                    self.discard()?;
                    return Err(Stop::Dropped("the server sent another range than was asked for".into()));
                }
                have
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                // Nothing lies beyond: the part is whole, or never was a part of this file.
                if md5_of(&self.part)? == self.remote.md5 {
                    return Ok(());
                }
                self.discard()?;
                return Err(Stop::Dropped("what was there did not fit the server's file".into()));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Stop::Dropped(format!("HTTP status {status}")));
            }
            status => {
                return Err(Error::Status { url: self.url.clone(), status: status.as_u16() }.into());
            }
        };
        let total = response.body().content_length().map(|length| start.saturating_add(length));
        self.save(&mut response.body_mut().as_reader(), start, total)
    }

    /// Writes what `body` brings from byte `start` on.
    fn save(&self, body: &mut dyn Read, start: u64, total: Option<u64>) -> Result<(), Stop> {
        let written = || Error::io("write", &self.part);
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .append(start > 0)
            .truncate(start == 0)
            .open(&self.part)
            .map_err(written())?;
        let mut done = start;
        let mut buffer = vec![0; 1 << 16];
        loop {
            (self.progress)(Progress { file: self.remote.name, done, total, resumed_from: start });
            if total.unwrap_or(done).max(done) > MOST_BYTES {
                self.discard()?;
                return Err(Error::Endless { url: self.url.clone(), most: MOST_BYTES }.into());
            }
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Dropped(error.to_string())),
            };
            file.write_all(&buffer[..read]).map_err(written())?;
            done += read as u64;
        }
        if total.is_some_and(|total| done < total) {
            return Err(Stop::Dropped("the server closed it".into()));
        }
        file.sync_all().map_err(written())?;
        Ok(())
    }

    /// A request that got no answer: a wrong address stays wrong, a bad connection may recover.
    fn unanswered(&self, error: &ureq::Error) -> Stop {
        let reason = error.to_string();
        match error {
            ureq::Error::Io(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                Stop::Dropped(reason)
            }
            ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => Stop::Dropped(reason),
            _ => Stop::Hopeless(Error::Connection { url: self.url.clone(), reason }),
        }
    }
}

/// The MD5 of a file in lower-case hexadecimal.
fn md5_of(path: &Path) -> Result<String, Error> {
    let mut hash = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::{TcpListener, TcpStream};
    use std::thread::{JoinHandle, spawn};

    use tempfile::TempDir;

    use super::*;

    /// The MD5 of [`body`].
    const FILE: Remote = Remote { name: "file.zip", md5: "869bb3d5f813b51ae865584320b8b411" };

    fn body() -> Vec<u8> {
        (0..300_000_u32).map(|i| (i * 7 + i / 1000) as u8).collect()
    }

    fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    fn whole() -> Vec<u8> {
        response("200 OK", "Content-Length: 300000\r\n", &body())
    }

    fn cut(at: usize) -> Vec<u8> {
        response("200 OK", "Content-Length: 300000\r\n", &body()[..at])
    }

    fn rest(from: usize) -> Vec<u8> {
        let headers =
            format!("Content-Length: {}\r\nContent-Range: bytes {from}-299999/300000\r\n", 300_000 - from);
        response("206 Partial Content", &headers, &body()[from..])
    }

    /// A server that gives these answers, one a connection, and returns the `Range` headers it saw.
    fn serve(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}/python/", listener.local_addr().expect("bound"));
        let server = spawn(move || {
            let answer = |answer: Vec<u8>| {
                let (mut stream, head) = asked(&listener);
                stream.write_all(&answer).expect("client");
                assert!(head.starts_with("get /python/file.zip "));
                head.lines().find_map(|line| line.strip_prefix("range: ")).unwrap_or("").to_string()
            };
            answers.into_iter().map(answer).collect()
        });
        (url, server)
    }

    /// The next client of `listener` and what it asks, in lower case.
    fn asked(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().expect("client");
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("request");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("text").to_ascii_lowercase())
    }

    /// The file or what went wrong, the ranges asked for, and the progress as (from, done).
    type Outcome = (Result<Vec<u8>, String>, Vec<String>, Vec<(u64, u64)>);

    /// Fetches from a server that gives these answers.
    fn run(dir: &TempDir, answers: Vec<Vec<u8>>) -> Outcome {
        let (url, server) = serve(answers);
        let seen = RefCell::new(vec![]);
        let note = |progress: Progress| {
            assert_eq!((progress.file, progress.total), ("file.zip", Some(300_000)));
            seen.borrow_mut().push((progress.resumed_from, progress.done));
        };
        let result = fetch(&url, &[FILE], dir.path(), &note)
            .map(|paths| fs::read(&paths[0]).expect("fetched"))
            .map_err(|error| error.to_string());
        (result, server.join().expect("server"), seen.into_inner())
    }

    fn part(dir: &TempDir) -> PathBuf {
        dir.path().join("file.zip.part")
    }

    #[test]
    fn a_file_is_fetched_once() {
        let dir = TempDir::new().expect("dir");
        let (result, ranges, progress) = run(&dir, vec![whole()]);
        assert_eq!(result, Ok(body()));
        assert_eq!(ranges, [""]);
        assert_eq!((progress.first(), progress.last()), (Some(&(0, 0)), Some(&(0, 300_000))));
        assert!(!part(&dir).exists());
        assert_eq!(run(&dir, vec![]).0, Ok(body()));
    }

    #[test]
    fn a_cut_connection_is_resumed() {
        let dir = TempDir::new().expect("dir");
        let (result, ranges, progress) = run(&dir, vec![cut(100_000), rest(100_000)]);
        assert_eq!(result, Ok(body()));
        assert_eq!(ranges, ["", "bytes=100000-"]);
        assert!(progress.contains(&(100_000, 300_000)));
    }

    #[test]
    fn a_later_call_goes_on_where_an_earlier_one_gave_up() {
        let dir = TempDir::new().expect("dir");
        let busy = || response("503 Service Unavailable", "Content-Length: 0\r\n", b"");
        let (result, ..) = run(&dir, vec![cut(50_000), busy(), busy(), busy()]);
        let text = result.expect_err("busy");
        assert!(text.contains("after 50000 bytes") && text.contains("503"), "{text}");
        let (result, ranges, _) = run(&dir, vec![rest(50_000)]);
        assert_eq!((result, ranges), (Ok(body()), vec!["bytes=50000-".to_string()]));
    }

    #[test]
    fn servers_without_ranges_or_with_odd_ones_start_over() {
        for odd in [vec![whole()], vec![rest(7), whole()]] {
            let dir = TempDir::new().expect("dir");
            fs::write(part(&dir), &body()[..1000]).expect("part");
            assert_eq!(run(&dir, odd).0, Ok(body()));
        }
    }

    #[test]
    fn a_part_that_cannot_be_extended_is_whole_or_worthless() {
        let beyond = || response("416 Range Not Satisfiable", "Content-Length: 0\r\n", b"");
        let dir = TempDir::new().expect("dir");
        fs::write(part(&dir), body()).expect("part");
        assert_eq!(run(&dir, vec![beyond()]).0, Ok(body()));
        let dir = TempDir::new().expect("dir");
        fs::write(part(&dir), [body(), body()].concat()).expect("part");
        assert_eq!(run(&dir, vec![beyond(), whole()]).0, Ok(body()));
    }

    #[test]
    fn a_wrong_checksum_names_both_and_leaves_nothing() {
        let dir = TempDir::new().expect("dir");
        let mut wrong = whole();
        *wrong.last_mut().expect("long") ^= 1;
        let text = run(&dir, vec![wrong]).0.expect_err("wrong");
        assert!(text.contains(FILE.md5) && text.contains("discarded"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
    }

    #[test]
    fn a_server_that_sends_too_much_is_left_and_leaves_nothing() {
        let announced = response("200 OK", "Content-Length: 1000000000000\r\n", &body());
        let unannounced = response("200 OK", "", &vec![0; MOST_BYTES as usize + (1 << 20)]);
        for answer in [announced, unannounced] {
            let dir = TempDir::new().expect("dir");
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let server = spawn(move || {
                // The client hangs up before the end.
                let _ = asked(&listener).0.write_all(&answer);
            });
            let error = fetch(&url, &[FILE], dir.path(), &|_| ()).expect_err("too much").to_string();
            assert!(error.contains("more than 64 MB") && error.contains("discarded"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
            server.join().expect("server");
        }
    }

    #[test]
    fn another_file_of_that_name_is_not_overwritten() {
        let dir = TempDir::new().expect("dir");
        fs::write(dir.path().join("file.zip"), "mine").expect("file");
        let text = run(&dir, vec![]).0.expect_err("different");
        assert!(text.contains("is not overwritten"), "{text}");
        assert_eq!(fs::read(dir.path().join("file.zip")).expect("file"), b"mine");
    }

    #[test]
    fn what_is_not_there_is_not_asked_for_twice() {
        let dir = TempDir::new().expect("dir");
        let missing = response("404 Not Found", "Content-Length: 4\r\n", b"gone");
        let (result, ranges, _) = run(&dir, vec![missing]);
        let text = result.expect_err("missing");
        assert!(text.contains("404") && text.contains("/python/file.zip"), "{text}");
        assert_eq!(ranges.len(), 1);

        let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let url = format!("http://{}", closed.expect("loopback"));
        let error = fetch(&url, &[FILE], dir.path(), &|_| ()).expect_err("refused");
        assert!(matches!(error, Error::Connection { .. }), "{error}");
    }
}
