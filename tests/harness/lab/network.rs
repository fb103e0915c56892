//! A cable between the host and one machine.
//!
//! The pair of interfaces lives and dies with the lab's network namespace. Numbers are claimed by locks, so that labs of
//! several test binaries never share an address.

use std::{net::Ipv4Addr, process::Command};

use anyhow::Result;

use super::{proc, site::Number, strip::Strip};

/// Four addresses to each lab, from a block that nobody is likely to route.
const BLOCK: u32 = u32::from_be_bytes([10, 213, 0, 0]);
const MOST_LABS: u32 = 1 << 14;

#[derive(Debug)]
pub(super) struct Cable {
    interface: String,
    number: Number,
}

impl Cable {
    pub(super) fn lay(strip: &Strip) -> Result<Self> {
        let number = Number::claim("network", MOST_LABS)?;
        let cable = Self { interface: format!("nlab{}", number.value), number };
        let holder = strip.holder().to_string();
        ip(&["link", "add", &cable.interface, "type", "veth", "peer", "name", "host0", "netns", &holder])?;
        ip(&["address", "add", &format!("{}/30", cable.host()), "dev", &cable.interface])?;
        cable.plug()?;
        for words in [
            &["link", "set", "lo", "up"][..],
            &["address", "add", &format!("{}/30", cable.machine()), "dev", "host0"],
            &["link", "set", "host0", "up"],
        ] {
            proc::run(strip.command("ip").args(words))?;
        }
        Ok(cable)
    }

    pub(super) fn host(&self) -> Ipv4Addr {
        self.nth(1)
    }

    pub(super) fn machine(&self) -> Ipv4Addr {
        self.nth(2)
    }

    pub(super) fn plug(&self) -> Result<()> {
        ip(&["link", "set", &self.interface, "up"])
    }

    pub(super) fn unplug(&self) -> Result<()> {
        ip(&["link", "set", &self.interface, "down"])
    }

    fn nth(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(BLOCK + self.number.value * 4 + index)
    }
}

fn ip(words: &[&str]) -> Result<()> {
    proc::run(Command::new("ip").args(words))?;
    Ok(())
}
