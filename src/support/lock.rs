//! A lock on a folder: one process at a time writes to it.
//!
//! The operating system locks a file for as long as the process lives, however it ends. Some file systems have no such
//! locks (NFS without its lock service, Lustre mounted without `flock`, some FUSE). There a second file, `NAME.owner`, is
//! the lock: it is created exclusively, which those file systems do atomically, and names the process that holds it. That
//! process deletes it. One that was killed leaves it behind: it is then taken over if the process can be seen to have
//! ended, which needs the same machine; otherwise the user is told which file to delete.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Longest process ID in a lock file, in bytes.
const MAX_ID: u64 = 20;
/// Longest file of an owner that is read, in bytes.
const MAX_OWNER: u64 = 4096;

/// The owners' files that this process must delete.
static OWNED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A lock, released when dropped.
#[derive(Debug)]
pub struct Lock {
    /// The operating system releases its lock when the process ends.
    _file: File,
    owner: Option<PathBuf>,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum Refused {
    /// Another process holds it.
    Held(Holder),
    /// A file could not be opened or written.
    Io(&'static str, PathBuf, io::Error),
}

/// Who holds a lock, as far as is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// The process, as in ` (process 12)`; empty if it is unknown.
    pub process: String,
    /// The file to delete if that process has ended, which cannot be seen from here.
    pub left_behind: Option<PathBuf>,
}

impl Holder {
    /// What to do.
    pub fn advice(&self) -> String {
        let wait = "wait for that process to finish, or stop it".to_string();
        match &self.left_behind {
            None => wait,
            Some(file) => format!("{wait}; if it has ended, delete {}", file.display()),
        }
    }
}

/// A process, as it names itself in an owner's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    process: u32,
    host: String,
    /// The machine's current boot and the namespace of process numbers, if known (Linux).
    boot: Option<String>,
    namespace: Option<String>,
    /// When the process started, in clock ticks since the boot, if known (Linux): process numbers are used again.
    started: Option<String>,
}

impl Lock {
    /// Takes the lock file at `path`.
    ///
    /// # Errors
    /// Returns [`Refused`] if another process holds it, or a file cannot be written.
    pub fn take(path: &Path) -> Result<Self, Refused> {
        let refused = |action| move |error| Refused::Io(action, path.into(), error);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(refused("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut id = String::new();
                let process = match file.take(MAX_ID).read_to_string(&mut id) {
                    Ok(_) if !id.trim().is_empty() => format!(" (process {})", id.trim()),
                    _ => String::new(),
                };
                return Err(Refused::Held(Holder { process, left_behind: None }));
            }
            // There are no such locks here.
            Err(TryLockError::Error(_)) => {
                let owner = own(&path.with_extension("owner"))?;
                return Ok(Self { _file: file, owner: Some(owner) });
            }
        }
        // Another machine may hold the folder by its owner's file.
        clear_the_way(&path.with_extension("owner"))?;
        let id = format!("{}\n", std::process::id());
        let note = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes()));
        note.map_err(refused("write"))?;
        Ok(Self { _file: file, owner: None })
    }
}

impl Lock {
    /// Takes the lock file at `path` together with others that share it; [`Self::take`] is refused meanwhile. A file system
    /// without locks refuses nobody.
    ///
    /// # Errors
    /// Returns [`Refused`] if a process holds it alone, or the file cannot be opened.
    pub fn share(path: &Path) -> Result<Self, Refused> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|error| Refused::Io("open", path.into(), error))?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(Refused::Held(Holder::default())),
            Ok(()) | Err(TryLockError::Error(_)) => {
                clear_the_way(&path.with_extension("owner"))?;
                Ok(Self { _file: file, owner: None })
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.owner {
            let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
            owned.retain(|other| other != path);
            let _ = fs::remove_file(path);
        }
    }
}

/// Releases every lock of this process, for an end without destructors.
pub fn release_all() {
    let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
    owned.drain(..).for_each(|path| drop(fs::remove_file(path)));
}

/// Creates the owner's file at `path` for this process.
fn own(path: &Path) -> Result<PathBuf, Refused> {
    let refused = |action| move |error| Refused::Io(action, path.into(), error);
    clear_the_way(path)?;
    let mut file = match File::options().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(held(path, None)),
        Err(error) => return Err(refused("create")(error)),
    };
    OWNED.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
    let written = serde_json::to_string(&Owner::this_process())
        .map_err(io::Error::from)
        .and_then(|text| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        OWNED.lock().unwrap_or_else(PoisonError::into_inner).retain(|owned| owned != path);
        let _ = fs::remove_file(path);
        refused("write")(error)
    })?;
    Ok(path.into())
}

/// Deletes the owner's file at `path` if its process has ended.
fn clear_the_way(path: &Path) -> Result<(), Refused> {
    let Some(text) = read(path).map_err(|error| Refused::Io("read", path.into(), error))? else {
        return Ok(());
    };
    let owner: Option<Owner> = serde_json::from_str(&text).ok();
    if !owner.as_ref().is_some_and(Owner::has_ended) {
        return Err(held(path, owner));
    }
    // Two processes may find the same file left behind. Only the one that moves it away goes on; if the file is no longer
    // the one that was read, it goes back.
    let aside = path.with_extension(format!("ended-{}", std::process::id()));
    match fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Refused::Io("delete", path.into(), error)),
    }
    let same = read(&aside).is_ok_and(|found| found.as_deref() == Some(&*text));
    if !same {
        let _ = fs::hard_link(&aside, path);
    }
    let _ = fs::remove_file(&aside);
    if same { Ok(()) } else { Err(held(path, None)) }
}

/// The error that names the `owner` in the file at `path`.
fn held(path: &Path, owner: Option<Owner>) -> Refused {
    let process = owner
        .map_or_else(String::new, |Owner { process, host, .. }| format!(" (process {process} on {host})"));
    Refused::Held(Holder { process, left_behind: Some(path.into()) })
}

/// The text of a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_OWNER).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

impl Owner {
    fn this_process() -> Self {
        let process = std::process::id();
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        let named = |name: &String| !name.is_empty();
        Self {
            process,
            host: line("/proc/sys/kernel/hostname")
                .or_else(|| std::env::var("HOSTNAME").ok())
                .or_else(|| line("/etc/hostname"))
                .filter(named)
                .unwrap_or_else(|| "an unnamed machine".into()),
            boot: line("/proc/sys/kernel/random/boot_id"),
            namespace: fs::read_link("/proc/self/ns/pid").ok().map(|link| link.display().to_string()),
            started: started(process),
        }
    }

    /// Whether it can be seen from this process that this one has ended.
    fn has_ended(&self) -> bool {
        let this = Self::this_process();
        let comparable = this.host == self.host && this.boot.is_some() && self.boot.is_some();
        if !comparable {
            return false;
        }
        if this.boot != self.boot {
            return true;
        }
        // In another container process numbers mean other processes.
        let seen = this.namespace.is_some() && this.namespace == self.namespace && self.started.is_some();
        seen && started(self.process) != self.started
    }
}

/// When the process with this number started; `None` if there is none, or the system does not say.
fn started(process: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in brackets, may hold spaces. The 22nd field is the 20th after it.
    let (_, rest) = status.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(text: &str) -> Owner {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_owner_of_this_process_excludes_others_until_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.owner");
        own(&path).unwrap();
        let this = owner_of(&fs::read_to_string(&path).unwrap());
        assert_eq!(this, Owner::this_process());
        let Err(Refused::Held(holder)) = own(&path) else { panic!("it is held") };
        let process = format!(" (process {} on {})", this.process, this.host);
        assert_eq!(holder, Holder { process, left_behind: Some(path.clone()) });
        // A lock of the operating system is refused too.
        let Err(Refused::Held(_)) = Lock::take(&folder.path().join("run.lock")) else { panic!("it is held") };
        fs::remove_file(&path).unwrap();
        Lock::take(&folder.path().join("run.lock")).unwrap();
    }

    // Only Linux tells whether a process has ended.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_owner_that_has_ended_is_replaced_and_one_on_another_machine_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.owner");
        let this = Owner::this_process();
        assert!(this.started.is_some(), "{this:?}");
        let write = |owner: &Owner| fs::write(&path, serde_json::to_string(owner).unwrap()).unwrap();
        // The same number, but another process, that started earlier; one before a reboot; one elsewhere.
        let earlier = Owner { started: Some("1".into()), ..this.clone() };
        let before_reboot = Owner { boot: Some("other".into()), ..this.clone() };
        for gone in [earlier, before_reboot] {
            write(&gone);
            assert_eq!(own(&path).unwrap(), path, "{gone:?}");
        }
        let elsewhere = Owner { host: "elsewhere".into(), ..this.clone() };
        let contained = Owner { namespace: Some("pid:[1]".into()), ..this };
        for unknown in [elsewhere, contained] {
            write(&unknown);
            assert!(matches!(own(&path), Err(Refused::Held(_))), "{unknown:?}");
        }
        // A file that is still being written.
        fs::write(&path, "{").unwrap();
        assert!(matches!(own(&path), Err(Refused::Held(Holder { process, .. })) if process.is_empty()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }
}
