//! A control plane.

use harness::browser::Browser;
use harness::control_plane::ControlPlane;

use crate::Result;

pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
}

impl Stage {
    pub(crate) async fn bare() -> Result<Self> {
        Ok(Self { plane: ControlPlane::start().await? })
    }

    pub(crate) async fn browser(&self) -> Result<Browser> {
        Browser::open(self.plane.api_addr(), &self.plane.data_dir().join("ca.pem")).await
    }
}
