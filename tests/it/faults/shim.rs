//! A library that makes file system calls fail. The test in `faults.rs` builds it and preloads it into the program.
//!
//! Calls that change something in a folder are counted from 1; one of them fails, or all from one on.
//! `FAULTY_FOLDER` is a part of the paths whose calls are counted, `FAULTY_LOG` a file that gets a line for each call,
//! `FAULTY_CALL` the number of the first call that fails, and `FAULTY_MODE` is `once` or `ever`. Two kinds of calls are not
//! counted: reads fail by `FAULTY_READ`, locks by `FAULTY_FLOCK`.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize;
    fn __errno_location() -> *mut c_int;
}

/// Input/output error.
const EIO: c_int = 5;
/// No space left on device.
const ENOSPC: c_int = 28;
const WRITES: c_int = 0o1 | 0o2;
const CREATES: c_int = 0o100;
/// RTLD_NEXT: the symbol of the next library.
const NEXT: *mut c_void = -1_isize as *mut c_void;

struct Plan {
    folder: String,
    log: c_int,
    call: usize,
    ever: bool,
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let read = |name: &str| std::env::var(name).unwrap_or_default();
        let log = std::ffi::CString::new(read("FAULTY_LOG")).unwrap();
        Plan {
            folder: read("FAULTY_FOLDER"),
            log: unsafe { real_open()(log.as_ptr(), 0o2001 | CREATES, 0o644) },
            call: read("FAULTY_CALL").parse().unwrap_or(usize::MAX),
            ever: read("FAULTY_MODE") == "ever",
        }
    })
}

/// Counts a call of `name` on `path` if it is in the folder; returns whether it must fail.
fn fails(name: &str, path: &str) -> bool {
    let plan = plan();
    if !path.contains(&plan.folder) {
        return false;
    }
    let number = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    let fails = number == plan.call || (plan.ever && number > plan.call);
    let line = format!("{number} {name} {path}{}\n", if fails { " FAILS" } else { "" });
    unsafe { real_write()(plan.log, line.as_ptr().cast(), line.len()) };
    fails
}

fn path_of(file: c_int) -> String {
    let link = format!("/proc/self/fd/{file}\0");
    let mut buffer = [0_u8; 4096];
    let length = unsafe { readlink(link.as_ptr().cast(), buffer.as_mut_ptr().cast(), buffer.len()) };
    String::from_utf8_lossy(&buffer[..length.max(0) as usize]).into_owned()
}

unsafe fn text(path: *const c_char) -> String {
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned()
}

fn full() -> c_int {
    unsafe { *__errno_location() = ENOSPC };
    -1
}

type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;
type Open = unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int;

fn real_write() -> Write {
    static REAL: OnceLock<usize> = OnceLock::new();
    let found = REAL.get_or_init(|| unsafe { dlsym(NEXT, c"write".as_ptr()) } as usize);
    unsafe { std::mem::transmute::<usize, Write>(*found) }
}

fn real_open() -> Open {
    static REAL: OnceLock<usize> = OnceLock::new();
    let found = REAL.get_or_init(|| unsafe { dlsym(NEXT, c"open64".as_ptr()) } as usize);
    unsafe { std::mem::transmute::<usize, Open>(*found) }
}

/// A failing write writes half of its bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: usize) -> isize {
    if file > 2 && file != plan().log && fails("write", &path_of(file)) {
        unsafe { real_write()(file, bytes, count / 2) };
        return full() as isize;
    }
    unsafe { real_write()(file, bytes, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    if flags & (WRITES | CREATES) != 0 && fails("open", &unsafe { text(path) }) {
        return full();
    }
    unsafe { real_open()(path, flags, mode) }
}

/// Reads fail with an input/output error where `FAULTY_READ`, if it is set, is a part of the file's path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(file: c_int, bytes: *mut c_void, count: usize) -> isize {
    static UNREADABLE: OnceLock<Option<String>> = OnceLock::new();
    let unreadable = UNREADABLE.get_or_init(|| std::env::var("FAULTY_READ").ok());
    if unreadable.as_ref().is_some_and(|part| path_of(file).contains(part.as_str())) {
        unsafe { *__errno_location() = EIO };
        return -1;
    }
    static REAL: OnceLock<usize> = OnceLock::new();
    let found = REAL.get_or_init(|| unsafe { dlsym(NEXT, c"read".as_ptr()) } as usize);
    let real: unsafe extern "C" fn(c_int, *mut c_void, usize) -> isize =
        unsafe { std::mem::transmute(*found) };
    unsafe { real(file, bytes, count) }
}

/// The other calls; each names the path among its arguments.
macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),+) = $path:expr;)+) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),+) -> c_int {
            if fails(stringify!($name), &$path) {
                return full();
            }
            static REAL: OnceLock<usize> = OnceLock::new();
            let name = concat!(stringify!($name), "\0");
            let found = REAL.get_or_init(|| unsafe { dlsym(NEXT, name.as_ptr().cast()) } as usize);
            let real: unsafe extern "C" fn($($type),+) -> c_int = unsafe { std::mem::transmute(*found) };
            unsafe { real($($argument),+) }
        }
    )+};
}

/// Locks fail with the error number in `FAULTY_FLOCK`, if it is set, as on file systems that have none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn flock(file: c_int, operation: c_int) -> c_int {
    if let Some(error) = std::env::var("FAULTY_FLOCK").ok().and_then(|error| error.parse().ok()) {
        unsafe { *__errno_location() = error };
        return -1;
    }
    static REAL: OnceLock<usize> = OnceLock::new();
    let found = REAL.get_or_init(|| unsafe { dlsym(NEXT, c"flock".as_ptr()) } as usize);
    let real: unsafe extern "C" fn(c_int, c_int) -> c_int = unsafe { std::mem::transmute(*found) };
    unsafe { real(file, operation) }
}

calls! {
    fsync(file: c_int) = path_of(file);
    fdatasync(file: c_int) = path_of(file);
    ftruncate64(file: c_int, length: c_long) = path_of(file);
    rename(from: *const c_char, to: *const c_char) = unsafe { text(to) };
    unlink(path: *const c_char) = unsafe { text(path) };
    mkdir(path: *const c_char, mode: c_int) = unsafe { text(path) };
}
