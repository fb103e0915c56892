//! The agent as any version and with any misbehaviour, as a binary of its own.
//!
//! A program may end in bytes that no loader reads. One program is linked; an edition of it is a copy whose last line says
//! `novacula-edition <version> <conduct>`, which the copy reads from its own file when it starts. So each is a real binary
//! with its own SHA-256, and a suite needs one link instead of thirty.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent::Misbehaviour;
use anyhow::{Context, Result, bail, ensure};

const MARK: &str = "novacula-edition";

/// Longer than any last line.
const TAIL: i64 = 256;

/// How an edition behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// As the agent does.
    Good,
    /// Wrong in one way.
    Bad(Misbehaviour),
}

/// What a binary says it is, and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    says: String,
    conduct: Conduct,
}

const WORDS: [(&str, Misbehaviour); 7] = [
    ("crash-at-start", Misbehaviour::CrashAtStart),
    ("hang-before-ready", Misbehaviour::HangBeforeReady),
    ("hang-after-ready", Misbehaviour::HangAfterReady),
    ("exit-clean", Misbehaviour::ExitClean),
    ("never-connects", Misbehaviour::NeverConnects),
    ("connects-late", Misbehaviour::ConnectsLate),
    ("crash-after-connect", Misbehaviour::CrashAfterConnect),
];

// === impl Edition ===

impl Edition {
    /// A good one that says it is `version`.
    #[must_use]
    pub fn good(version: &str) -> Self {
        Self::new(version, Conduct::Good)
    }

    /// One that says it is `version` and goes wrong.
    #[must_use]
    pub fn bad(version: &str, misbehaviour: Misbehaviour) -> Self {
        Self::new(version, Conduct::Bad(misbehaviour))
    }

    /// One that says it is `version`.
    #[must_use]
    pub fn new(version: &str, conduct: Conduct) -> Self {
        Self { says: version.to_owned(), conduct }
    }

    /// The version it says it is.
    #[must_use]
    pub fn says(&self) -> &str {
        &self.says
    }

    /// How it behaves.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        self.conduct
    }

    /// Writes it as a program (0755).
    ///
    /// The bytes reach their place by a process of their own: whatever another thread starts in this moment inherits this
    /// process's open files until it is another program, and a program that is open for writing anywhere cannot be run
    /// (ETXTBSY, execve(2)).
    ///
    /// # Errors
    /// When `program` cannot be read or `to` not written.
    pub fn write(&self, program: &Path, to: &Path) -> Result<()> {
        let mut bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
        bytes.extend(self.line().bytes());
        let mut draft = to.as_os_str().to_owned();
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        fs::write(&draft, bytes).with_context(|| format!("write {}", draft.display()))?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
        let copied =
            Command::new("cp").args(["--remove-destination", "--preserve=mode", "--"]).arg(&draft).arg(to).status();
        ensure!(copied.context("start cp")?.success(), "copy {} to {}", draft.display(), to.display());
        fs::remove_file(&draft)?;
        Ok(())
    }

    /// The edition that this process runs.
    ///
    /// # Errors
    /// When the program has no such last line.
    pub fn of_this_program() -> Result<Self> {
        // Through the kernel's handle: the file may have another name by now, or none.
        let mut file = File::open("/proc/self/exe").context("open this program")?;
        file.seek(SeekFrom::End(-TAIL)).context("look at this program's end")?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).context("read this program's end")?;
        let tail = String::from_utf8_lossy(&tail);
        Self::parse(tail.lines().last().unwrap_or_default())
    }

    fn line(&self) -> String {
        let conduct = match self.conduct {
            Conduct::Good => "good".to_owned(),
            Conduct::Bad(Misbehaviour::CrashEvery(after)) => {
                format!("crash-every:{}", after.as_millis())
            }
            Conduct::Bad(misbehaviour) => {
                WORDS.iter().find(|(_, listed)| *listed == misbehaviour).map_or("unknown", |(word, _)| word).to_owned()
            }
        };
        format!("\n{MARK} {} {conduct}\n", self.says)
    }

    fn parse(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let &[MARK, says, word] = words.as_slice() else {
            bail!("the program's last line is no edition: {line:?}");
        };
        let conduct = if word == "good" {
            Conduct::Good
        } else if let Some(after) = word.strip_prefix("crash-every:") {
            Conduct::Bad(Misbehaviour::CrashEvery(Duration::from_millis(after.parse()?)))
        } else {
            let found = WORDS.iter().find(|(listed, _)| *listed == word);
            Conduct::Bad(found.with_context(|| format!("no conduct is called {word:?}"))?.1)
        };
        Ok(Self::new(says, conduct))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_survives_its_line() {
        let every = Misbehaviour::CrashEvery(Duration::from_secs(3));
        let all = WORDS.map(|(_, misbehaviour)| misbehaviour);
        for misbehaviour in all.into_iter().chain([every]) {
            let edition = Edition::bad("1.2.0", misbehaviour);
            assert_eq!(Edition::parse(edition.line().trim()).unwrap(), edition);
        }
        assert!(Edition::parse("\u{7f}ELF").is_err());
    }
}
