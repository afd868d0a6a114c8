//! `metaburn data fetch`: failed or wrong downloads are reported and leave no files.

use crate::common::{Outcome, names, run};
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tiny_http::{Response, Server};

/// The official archive's checksum.
const BACKGROUND: &str = "68d2efa1b9178cc56df9314c21c6e718";

/// A local mirror that gives every request the same answer and records the requested paths.
struct Mirror {
    server: Arc<Server>,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    /// Answers with `status` and `content`.
    fn new(status: u16, content: &'static str) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let requested = Arc::new(Mutex::new(Vec::new()));
        let mirror = Self { server: server.clone(), requested: requested.clone() };
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                requested.lock().unwrap().push(request.url().to_string());
                request.respond(Response::from_string(content).with_status_code(status)).unwrap();
            }
        });
        mirror
    }

    fn url(&self) -> String {
        format!("http://{}/mirror/", self.server.server_addr())
    }

    fn requested(&self) -> Vec<String> {
        self.requested.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

/// Fetches Omniglot from `url` into the folder `to`; progress lines are removed from standard error.
fn fetch(folder: &TempDir, url: &str) -> Outcome {
    let ran = run(folder.path(), &format!("data fetch omniglot --url {url} --to to"));
    let messages = ran.stderr.lines().filter(|line| !line.starts_with("fetching images_"));
    Outcome { stderr: messages.collect::<Vec<_>>().join("\n"), ..ran }
}

#[test]
fn a_download_with_the_wrong_checksum_is_discarded_and_both_checksums_are_named() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(200, "hello");
    let url = format!("{}images_background.zip", mirror.url());
    // The MD5 of "hello".
    fetch(&folder, &mirror.url()).failed(&[
        &url,
        "5d41402abc4b2a76b9719d911017c592",
        BACKGROUND,
        "discarded",
    ]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
    assert_eq!(mirror.requested(), ["/mirror/images_background.zip"]);
}

#[test]
fn mnist_is_fetched_by_its_file_names_and_checked() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(200, "hello");
    let ran = run(folder.path(), &format!("data fetch mnist --url {}", mirror.url()));
    // The first file's published MD5.
    assert!(ran.code == Some(1) && ran.stderr.contains("f68b3c2dcbeaaa9fbdd348bbdeb94873"), "{ran:?}");
    assert_eq!(names(&folder.path().join("datasets/mnist")), Vec::<String>::new());
    assert_eq!(mirror.requested(), ["/mirror/train-images-idx3-ubyte.gz"]);
}

#[test]
fn a_url_without_the_archive_is_named() {
    let folder = TempDir::new().unwrap();
    let mirror = Mirror::new(404, "not here");
    let url = format!("{}images_background.zip", mirror.url());
    fetch(&folder, &mirror.url()).failed(&[&url, "404", "check the address"]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
    assert_eq!(mirror.requested().len(), 1);
}

#[test]
fn an_unreachable_server_is_named() {
    let folder = TempDir::new().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let url = format!("http://{closed}");
    fetch(&folder, &url).failed(&["cannot reach", &url, "check the connection or the address"]);
    fetch(&folder, "nonsense").failed(&["cannot reach", "nonsense"]);
    assert_eq!(names(&folder.path().join("to")), Vec::<String>::new());
}

#[test]
fn an_existing_file_with_another_checksum_is_kept_and_nothing_is_requested() {
    let folder = TempDir::new().unwrap();
    let mine = folder.path().join("to/images_background.zip");
    fs::create_dir(folder.path().join("to")).unwrap();
    fs::write(&mine, "hello").unwrap();
    let mirror = Mirror::new(200, "other");
    let words =
        ["to/images_background.zip", "5d41402abc4b2a76b9719d911017c592", BACKGROUND, "not overwritten"];
    fetch(&folder, &mirror.url()).refused(&words);
    assert_eq!(fs::read(&mine).unwrap(), b"hello");
    assert_eq!(mirror.requested(), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_created_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("to"), "a file").unwrap();
    fetch(&folder, "http://127.0.0.1:1").refused(&["create the folder `to`"]);
}
