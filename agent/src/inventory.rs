//! An agent's own host as the one machine that it sees.

use std::fs;

use domain::sync::Node;
use executor_sdk::executor::platform;
use rustix::system::uname;

/// Longest name that the control plane takes, in bytes.
const NAME_MAX: usize = 253;

/// The host's name.
#[must_use]
pub fn host_name() -> String {
    let name = uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name.chars().take(NAME_MAX).collect() }
}

/// This host.
#[must_use]
pub fn node() -> Node {
    Node {
        name: host_name(),
        platform: platform().map_or_else(String::new, |platform| platform.to_string()),
        kernel_version: uname().release().to_string_lossy().into_owned(),
        os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        kubelet_version: String::new(),
        ready: true,
    }
}

/// os-release(5): `PRETTY_NAME`, "Linux" where it is missing, as the manual says.
fn os_image(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let value = value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned());
    value.filter(|value| !value.is_empty()).unwrap_or_else(|| "Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_name_a_kernel_and_a_platform() {
        let node = node();
        assert!(!node.name.is_empty() && !node.kernel_version.is_empty());
        assert!(node.platform.parse::<domain::Platform>().is_ok(), "{}", node.platform);
    }

    #[test]
    fn the_os_is_its_pretty_name() {
        assert_eq!(
            os_image("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_image("PRETTY_NAME='Void'"), "Void");
        assert_eq!(os_image(""), "Linux");
    }
}
