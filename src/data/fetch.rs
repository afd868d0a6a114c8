//! Downloads of official dataset files, with resumption and checksums.

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
use crate::support::hex::hex;

/// Consecutive transfers without a new byte after which a download fails.
const MAX_FAILURES: u32 = 3;
/// The pause after the first such transfer; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// The largest file accepted; the largest official one, CIFAR-100's, has 169 MB.
const MAX_BYTES: u64 = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A dataset that can be downloaded.
pub struct Dataset {
    /// The name on the command line, as in `metaburn data fetch omniglot`.
    pub name: &'static str,
    /// The name in prose, such as `Omniglot`.
    pub title: &'static str,
    /// A short description.
    pub summary: &'static str,
    /// The folder it is downloaded to, relative to the working directory.
    pub folder: &'static str,
    /// The address below which its official files are.
    pub url: &'static str,
    /// Its files.
    pub files: &'static [Remote],
    /// Reads all of it from a folder and returns its number of classes.
    pub check: fn(&Path) -> Result<usize, Error>,
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_tuple("Dataset").field(&self.name).finish()
    }
}

/// A file to download.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remote {
    /// Its name, both below the base address and in the local folder.
    pub name: &'static str,
    /// Its MD5 checksum, in lower-case hexadecimal.
    pub md5: &'static str,
}

/// Progress of the download of one file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes on disk.
    pub done: u64,
    /// Bytes of the whole file, if the server says.
    pub total: Option<u64>,
    /// Bytes that were on disk when the current transfer began.
    pub resumed_from: u64,
}

/// Downloads `files` from below `base_url` into the folder `into`, which is created if necessary, and
/// returns their paths. Existing files are not downloaded again.
///
/// Partial downloads are kept in `NAME.part`; a later call resumes them.
///
/// # Errors
/// Returns an error if the address cannot be reached or lacks a file, the connection keeps breaking, a checksum
/// is wrong, the folder cannot be written, or it holds a different file of the same name.
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
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
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

/// The download of one file.
struct Download<'a> {
    agent: &'a Agent,
    url: String,
    part: PathBuf,
    remote: Remote,
    progress: &'a dyn Fn(Progress),
}

/// Why a transfer ended early.
enum TransferError {
    /// A retry may help.
    Transient(String),
    /// A retry cannot help.
    Permanent(Error),
}

impl From<Error> for TransferError {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

impl Download<'_> {
    /// Transfers until the file is complete, then verifies it and moves it to `path`.
    fn finish(&self, path: &Path) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            let before = self.done();
            match self.transfer(before) {
                Ok(()) => break,
                Err(TransferError::Permanent(error)) => return Err(error),
                Err(TransferError::Transient(reason)) => {
                    let done = self.done();
                    failures = if done > before { 0 } else { failures + 1 };
                    if failures >= MAX_FAILURES {
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

    /// Bytes received so far.
    fn done(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    fn discard(&self) -> Result<(), Error> {
        fs::remove_file(&self.part).map_err(Error::io("remove", &self.part))
    }

    /// Requests everything after the first `have` bytes and appends it to the partial file.
    fn transfer(&self, have: u64) -> Result<(), TransferError> {
        // With a compressed response, ranges would not count the file's bytes.
        let mut request = self.agent.get(&self.url).header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|error| self.no_response(&error))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if !range.is_some_and(|range| range.starts_with(&format!("bytes {have}-"))) {
                    self.discard()?;
                    return Err(TransferError::Transient(
                        "the server sent a different range from the one requested".into(),
                    ));
                }
                have
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                // There is nothing more: the partial file is complete, or belongs to another file.
                if md5_of(&self.part)? == self.remote.md5 {
                    return Ok(());
                }
                self.discard()?;
                return Err(TransferError::Transient(
                    "the partial download did not match the server's file".into(),
                ));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(TransferError::Transient(format!("HTTP status {status}")));
            }
            status => {
                return Err(Error::Status { url: self.url.clone(), status: status.as_u16() }.into());
            }
        };
        let total = response.body().content_length().map(|length| start.saturating_add(length));
        self.save(&mut response.body_mut().as_reader(), start, total)
    }

    /// Writes `body` to the partial file from byte `start`.
    fn save(&self, body: &mut dyn Read, start: u64, total: Option<u64>) -> Result<(), TransferError> {
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
            if total.unwrap_or(done).max(done) > MAX_BYTES {
                self.discard()?;
                return Err(Error::TooLarge { url: self.url.clone(), max: MAX_BYTES }.into());
            }
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TransferError::Transient(error.to_string())),
            };
            file.write_all(&buffer[..read]).map_err(written())?;
            done += read as u64;
        }
        if total.is_some_and(|total| done < total) {
            return Err(TransferError::Transient("the server closed the connection".into()));
        }
        file.sync_all().map_err(written())?;
        Ok(())
    }

    /// Classifies a request without a response: wrong addresses are permanent, bad connections transient.
    fn no_response(&self, error: &ureq::Error) -> TransferError {
        let reason = error.to_string();
        match error {
            ureq::Error::Io(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                TransferError::Transient(reason)
            }
            ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => TransferError::Transient(reason),
            _ => TransferError::Permanent(Error::Connection { url: self.url.clone(), reason }),
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

    fn complete() -> Vec<u8> {
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

    /// A server that sends `answers`, one per connection, and returns the `Range` headers it received.
    fn serve(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}/python/", listener.local_addr().expect("bound"));
        let server = spawn(move || {
            let answer = |answer: Vec<u8>| {
                let (mut stream, head) = accept(&listener);
                stream.write_all(&answer).expect("client");
                assert!(head.starts_with("get /python/file.zip "));
                head.lines().find_map(|line| line.strip_prefix("range: ")).unwrap_or("").to_string()
            };
            answers.into_iter().map(answer).collect()
        });
        (url, server)
    }

    /// The next client of `listener` and its request in lower case.
    fn accept(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().expect("client");
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("request");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("text").to_ascii_lowercase())
    }

    /// The file or the error, the ranges requested, and the progress as (resumed from, done).
    type Outcome = (Result<Vec<u8>, String>, Vec<String>, Vec<(u64, u64)>);

    /// Fetches from a server that sends `answers`.
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
        let (result, ranges, progress) = run(&dir, vec![complete()]);
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
    fn a_later_call_resumes_a_failed_download() {
        let dir = TempDir::new().expect("dir");
        let busy = || response("503 Service Unavailable", "Content-Length: 0\r\n", b"");
        let (result, ..) = run(&dir, vec![cut(50_000), busy(), busy(), busy()]);
        let text = result.expect_err("busy");
        assert!(text.contains("after 50000 bytes") && text.contains("503"), "{text}");
        let (result, ranges, _) = run(&dir, vec![rest(50_000)]);
        assert_eq!((result, ranges), (Ok(body()), vec!["bytes=50000-".to_string()]));
    }

    #[test]
    fn unsupported_or_wrong_ranges_restart_the_download() {
        for odd in [vec![complete()], vec![rest(7), complete()]] {
            let dir = TempDir::new().expect("dir");
            fs::write(part(&dir), &body()[..1000]).expect("part");
            assert_eq!(run(&dir, odd).0, Ok(body()));
        }
    }

    #[test]
    fn a_partial_file_at_full_length_is_accepted_or_discarded() {
        let beyond = || response("416 Range Not Satisfiable", "Content-Length: 0\r\n", b"");
        let dir = TempDir::new().expect("dir");
        fs::write(part(&dir), body()).expect("part");
        assert_eq!(run(&dir, vec![beyond()]).0, Ok(body()));
        let dir = TempDir::new().expect("dir");
        fs::write(part(&dir), [body(), body()].concat()).expect("part");
        assert_eq!(run(&dir, vec![beyond(), complete()]).0, Ok(body()));
    }

    #[test]
    fn a_wrong_checksum_is_reported_and_the_file_discarded() {
        let dir = TempDir::new().expect("dir");
        let mut wrong = complete();
        *wrong.last_mut().expect("long") ^= 1;
        let text = run(&dir, vec![wrong]).0.expect_err("wrong");
        assert!(text.contains(FILE.md5) && text.contains("discarded"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
    }

    #[test]
    fn oversized_responses_are_refused_and_discarded() {
        let announced = response("200 OK", "Content-Length: 1000000000000\r\n", &body());
        let unannounced = response("200 OK", "", &vec![0; MAX_BYTES as usize + (1 << 20)]);
        for answer in [announced, unannounced] {
            let dir = TempDir::new().expect("dir");
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let server = spawn(move || {
                // The client closes the connection before the end.
                let _ = accept(&listener).0.write_all(&answer);
            });
            let error = fetch(&url, &[FILE], dir.path(), &|_| ()).expect_err("too much").to_string();
            assert!(error.contains("more than 256 MB") && error.contains("discarded"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
            server.join().expect("server");
        }
    }

    #[test]
    fn a_different_existing_file_is_not_overwritten() {
        let dir = TempDir::new().expect("dir");
        fs::write(dir.path().join("file.zip"), "mine").expect("file");
        let text = run(&dir, vec![]).0.expect_err("different");
        assert!(text.contains("is not overwritten"), "{text}");
        assert_eq!(fs::read(dir.path().join("file.zip")).expect("file"), b"mine");
    }

    #[test]
    fn permanent_errors_are_not_retried() {
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
