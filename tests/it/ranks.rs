//! Several processes on one run (with `--features mpi`), and what a launcher's processes are refused without. They are started
//! by Open MPI's `mpirun`, or by the launcher that METABURN_TEST_LAUNCHER names, with its options.

use crate::common::{IMAGES, TINY, folder_with_images, metaburn, run, run_command};

/// Without MPI, or where each process would do the same work.
#[test]
fn processes_of_a_launcher_that_would_all_do_the_same_are_refused() {
    let folder = folder_with_images();
    std::fs::write(folder.path().join("sweep-small.toml"), "set.outer.steps = 1\n").unwrap();
    let (sweep, study) = (format!("sweep sweep-small.toml {IMAGES} {TINY}"), "study quadratic --quick");
    let mut lines = vec![sweep.clone(), study.into()];
    if !cfg!(feature = "mpi") {
        lines.extend([format!("train {IMAGES} {TINY} --run-dir run"), "resume run".into()]);
    }
    for [size, rank] in [["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"], ["PMI_SIZE", "PMI_RANK"]] {
        for line in &lines {
            let process =
                |number: &str| run_command(metaburn(folder.path(), line).env(size, "4").env(rank, number));
            let told = process("0").refused(&["a launcher started 4 processes", size]);
            assert!(told.contains("--features mpi") || told.contains("--only"), "{told}");
            let other = process("3");
            assert_eq!((other.code, other.stderr), (Some(2), String::new()), "one process speaks for all");
        }
    }
    assert_eq!(crate::common::names(folder.path()), ["images", "sweep-small.toml"], "nothing is written");
    // One piece is a process's own, and so is the only process of a launch.
    let mut only = metaburn(folder.path(), &format!("{sweep} --only 0"));
    run_command(only.env("PMI_SIZE", "4").env("PMI_RANK", "3")).ok();
    run_command(metaburn(folder.path(), &sweep).env("OMPI_COMM_WORLD_SIZE", "1")).ok();
    run(folder.path(), &sweep).ok();
}

#[cfg(feature = "mpi")]
mod by_mpi {
    use crate::common::optional::{skip, succeeds};
    use crate::common::{
        IMAGES, Running, TINY, folder_with_images, last_saved_step, metaburn, names, run, run_command,
        run_state,
    };
    use serde_json::Value;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    /// The launcher, without its number of ranks.
    fn launcher() -> Command {
        let line = std::env::var("METABURN_TEST_LAUNCHER");
        let line = line.unwrap_or("mpirun --oversubscribe --bind-to none".into());
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("METABURN_TEST_LAUNCHER names a program"));
        command.args(words);
        command
    }

    /// A stop signal that the launcher passes on to all ranks before it ends with their exit code.
    fn signal_that_launcher_passes_on() -> &'static str {
        let version = launcher().arg("--version").output().expect("the launcher starts").stdout;
        if String::from_utf8_lossy(&version).contains("Open MPI") { "-USR1" } else { "-TERM" }
    }

    /// A launcher with `count` ranks on this machine, about to run metaburn in `folder`.
    fn ranks(folder: &Path, count: usize, line: &str) -> Command {
        let mut command = launcher();
        command.args(["-n", &count.to_string()]);
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        let program = metaburn(folder, line);
        command.arg(program.get_program()).args(program.get_args()).current_dir(folder);
        command
    }

    fn lacks_launcher() -> bool {
        let has = succeeds(launcher().arg("--version"));
        if !has {
            skip("mpi", format_args!("there is no {}", launcher().get_program().display()));
        }
        !has
    }

    /// A run of five tasks a step in `name`.
    fn train(name: &str, more: &str) -> String {
        let five =
            "--set outer.meta_batch=5 --set eval.every=4 --set eval.episodes=7 --set checkpoint.every=4";
        format!("train {IMAGES} {TINY} {five} --threads 1 --run-dir {name} {more}")
    }

    fn tested(run: &Path) -> Value {
        let text = fs::read_to_string(run.join("results/test.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["accuracy"].clone()
    }

    #[test]
    fn any_number_of_ranks_gives_the_bits_of_one_process() {
        if lacks_launcher() {
            return;
        }
        for more in [
            "--steps 10",
            "--steps 8 --set estimator.name=adaptive --set estimator.costs=counted --set estimator.floor=0.3",
            "--steps 8 --set estimator.name=step-coins --set estimator.costs=counted",
        ] {
            let folder = folder_with_images();
            run(folder.path(), &train("alone", more)).ok();
            let alone = folder.path().join("alone");
            for count in [1, 2, 3, 5] {
                let name = format!("shared-{count}");
                let ended = run_command(&mut ranks(folder.path(), count, &train(&name, more))).ok();
                assert_eq!(
                    ended.stdout.matches("accuracy").count(),
                    1,
                    "rank 0 alone reports: {}",
                    ended.stdout
                );
                let shared = folder.path().join(name);
                assert_eq!(run_state(&shared), run_state(&alone), "{more} on {count} ranks");
                assert_eq!(tested(&shared), tested(&alone));
                assert_eq!(names(&shared), names(&alone));
            }
        }
    }

    /// A rank of the run in `folder`.
    fn rank_in(folder: &Path) -> String {
        let (program, folder) = (metaburn(folder, ""), folder.canonicalize().unwrap());
        let program = Path::new(program.get_program()).canonicalize().unwrap();
        let is_rank = |process: &Path| {
            let link = |name| fs::read_link(process.join(name)).ok();
            link("exe").as_ref() == Some(&program) && link("cwd").as_ref() == Some(&folder)
        };
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let rank = processes.filter(|process| is_rank(process)).last().expect("a rank");
        rank.file_name().unwrap().to_str().unwrap().into()
    }

    #[test]
    fn a_killed_rank_ends_all_and_another_number_of_ranks_continues_to_the_same_bits() {
        if lacks_launcher() {
            return;
        }
        let folder = folder_with_images();
        let more =
            "--steps 300 --set eval.every=0 --set estimator.name=adaptive --set estimator.costs=counted";
        run(folder.path(), &train("alone", more)).ok();
        let shared = folder.path().join("shared");
        let mut running = Running::start(&mut ranks(folder.path(), 3, &train("shared", more)));
        running.wait_until(|| last_saved_step(&shared) >= Some(8));
        assert!(succeeds(Command::new("kill").args(["-9", &rank_in(folder.path())])));
        assert_ne!(running.wait().code, Some(0), "a dead rank is a failure");
        assert!(last_saved_step(&shared) < Some(300), "it was killed before its end");
        run_command(&mut ranks(folder.path(), 2, "resume shared")).ok();
        assert_eq!(run_state(&shared), run_state(&folder.path().join("alone")));
    }

    #[test]
    fn a_signal_saves_and_stops_all_ranks() {
        if lacks_launcher() {
            return;
        }
        let folder = folder_with_images();
        let more = "--steps 400 --set eval.every=0";
        run(folder.path(), &train("alone", more)).ok();
        let shared = folder.path().join("shared");
        let mut running = Running::start(&mut ranks(folder.path(), 2, &train("shared", more)));
        running.wait_until(|| last_saved_step(&shared) >= Some(4));
        running.signal(signal_that_launcher_passes_on());
        let ended = running.wait();
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("stopped and saved after outer step").count(), 1, "{}", ended.stderr);
        // To a single rank.
        let mut running = Running::start(&mut ranks(folder.path(), 3, "resume shared"));
        let saved = last_saved_step(&shared);
        running.wait_until(|| last_saved_step(&shared) > saved);
        assert!(succeeds(Command::new("kill").args(["-TERM", &rank_in(folder.path())])));
        assert_eq!(running.wait().code, Some(130));
        run(folder.path(), "resume shared").ok();
        assert_eq!(run_state(&shared), run_state(&folder.path().join("alone")));
    }

    #[test]
    fn errors_of_ranks_end_all_with_their_code() {
        if lacks_launcher() {
            return;
        }
        let folder = folder_with_images();
        let told = |count, line: &str| run_command(&mut ranks(folder.path(), count, line));
        let few = told(3, &train("run", "--set outer.meta_batch=2"));
        assert_eq!(few.code, Some(2), "{}", few.stderr);
        assert_eq!(few.stderr.matches("3 ranks cannot share the 2 tasks").count(), 1, "{}", few.stderr);
        let wrong = told(2, &train("run", "--set outer.rate=-1"));
        assert!(wrong.code == Some(2) && wrong.stderr.contains("outer.rate"), "{}", wrong.stderr);
        assert_eq!(told(2, "resume nowhere").code, Some(2));
        let wild = told(2, &train("run", "--steps 3 --set outer.rate=1e30 --set outer.optimizer=sgd"));
        assert_eq!(wild.code, Some(1), "{}", wild.stderr);
        assert_eq!(wild.stderr.matches("training diverged").count(), 1, "{}", wild.stderr);
    }
}
