//! The swap on a real disk, and what it refuses to touch.

use domain::Generation;

use super::*;

const OLD: &str = "the old version";
const NEW: &str = "the new version";

struct Bench {
    home: tempfile::TempDir,
    mine: InPlace,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let binary = home.path().join("bin/mine.x");
        fs::create_dir(home.path().join("bin")).expect("a directory");
        fs::write(&binary, OLD).expect("writes");
        let mine = InPlace::new(binary, home.path()).expect("reads");
        Self { home, mine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("bin").join(name)
    }

    fn reads(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("reads")
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.home.path().join("bin")).expect("reads");
        let mut names: Vec<_> = names.map(|one| one.expect("one").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn swap(&self) -> Result<(), Failure> {
        let path = self.path("incoming");
        fs::write(&path, NEW).expect("writes");
        self.mine.place.swap(open(1), &File::open(&path).expect("opens"), &path)
    }

    fn step(&self) -> Option<Step> {
        self.mine.place.journal.read().expect("reads").open.map(|open| open.step)
    }

    /// The next process.
    fn restarted(&self) -> InPlace {
        InPlace::new(self.path("mine.x"), self.home.path()).expect("reads")
    }
}

fn attempt(n: u128) -> AttemptId {
    AttemptId::new(uuid::Uuid::from_u128(n))
}

fn open(n: u128) -> OpenAttempt {
    let version = |text: &str| text.parse().expect("a version");
    OpenAttempt::new(attempt(n), Generation(1), version("1.0.0"), version("1.1.0"))
}

fn code<T: std::fmt::Debug>(failure: Result<T, Failure>) -> ErrorCode {
    failure.expect_err("a failure").code
}

#[test]
fn a_swap_and_its_way_back_keep_the_version_before() {
    let bench = Bench::new();
    assert_eq!(bench.mine.workplace(), Ok(Workplace::Directory(bench.home.path().join("bin"))));
    bench.swap().expect("swaps");
    assert_eq!((bench.reads("mine.x"), bench.reads("mine.x.prev")), (NEW.to_owned(), OLD.to_owned()));
    assert_eq!(
        (bench.names(), bench.step()),
        (vec!["mine.x".to_owned(), "mine.x.prev".to_owned()], Some(Step::Swapped))
    );
    let version: Version = "1.0.0".parse().expect("a version");
    let live = |mine: &InPlace| mine.describe(version.clone()).binary_sha256;
    assert_ne!(live(&bench.mine), Some(bench.mine.place.running), "what is in place is read from the disk");
    assert_eq!(code(bench.mine.workplace()), ErrorCode::NotPermitted);

    let next = bench.restarted();
    for _ in 0..2 {
        next.place.put_back(attempt(1)).expect("goes back, also when it is called again");
        assert_eq!((bench.reads("mine.x"), bench.reads("mine.x.prev")), (OLD.to_owned(), OLD.to_owned()));
        assert_eq!((bench.names().len(), bench.step()), (2, Some(Step::RollingBack)));
    }
    assert_eq!(live(&next), Some(bench.mine.place.running));

    // Both names are one file now; the next swap parts them.
    next.place.journal.update(LOCK_PATIENCE, |state| state.open = None).expect("writes");
    bench.swap().expect("swaps again");
    assert_eq!((bench.reads("mine.x"), bench.reads("mine.x.prev")), (NEW.to_owned(), OLD.to_owned()));
    assert_eq!(bench.names().len(), 2);
}

#[test]
fn an_unconfirmed_version_is_not_replaced() {
    let bench = Bench::new();
    bench.swap().expect("swaps");
    let next = bench.restarted();
    let path = bench.path("incoming");
    fs::write(&path, "a third version").expect("writes");
    let file = File::open(&path).expect("opens");
    assert_eq!(code(next.place.swap(open(2), &file, &path)), ErrorCode::Other);
    assert_eq!((bench.reads("mine.x"), bench.reads("mine.x.prev")), (NEW.to_owned(), OLD.to_owned()));
}

#[test]
fn a_binary_that_somebody_else_put_there_is_left_alone() {
    let bench = Bench::new();
    fs::write(bench.path("mine.x"), "theirs").expect("writes");
    assert_eq!(code(bench.swap()), ErrorCode::NotPermitted);
    assert_eq!((bench.reads("mine.x"), bench.step()), ("theirs".to_owned(), None));
}

#[test]
fn a_file_that_took_the_proven_ones_name_is_not_swapped_in() {
    let bench = Bench::new();
    let (path, proven) = (bench.path("incoming"), bench.path("proven"));
    fs::write(&proven, NEW).expect("writes");
    fs::write(&path, "another").expect("writes");
    let file = File::open(&proven).expect("opens");
    assert_eq!(code(bench.mine.place.swap(open(1), &file, &path)), ErrorCode::NotPermitted);
    assert_eq!((bench.reads("mine.x"), bench.step()), (OLD.to_owned(), None));
}

#[test]
fn a_swap_that_fails_on_the_disk_closes_its_attempt() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("mine.x.prev/in the way")).expect("a directory");
    assert_eq!(code(bench.swap()), ErrorCode::Io);
    assert_eq!((bench.reads("mine.x"), bench.step()), (OLD.to_owned(), None));
}

#[test]
fn a_previous_version_that_was_written_on_is_not_put_back() {
    let bench = Bench::new();
    bench.swap().expect("swaps");
    fs::remove_file(bench.path("mine.x.prev")).expect("removes");
    assert_eq!(code(bench.mine.place.put_back(attempt(1))), ErrorCode::PreviousUnusable);
    fs::write(bench.path("mine.x.prev"), "theirs").expect("writes");
    assert_eq!(code(bench.mine.place.put_back(attempt(1))), ErrorCode::PreviousUnusable);
    assert_eq!(
        (bench.reads("mine.x"), bench.step()),
        (NEW.to_owned(), Some(Step::Swapped)),
        "the decision can be taken back"
    );
    assert_eq!(code(bench.mine.place.put_back(attempt(2))), ErrorCode::Other, "another attempt is none of ours");
}
