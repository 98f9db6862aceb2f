//! The machines that the image is for.

/// An architecture that the image is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Architecture {
    Amd64,
    Arm64,
}

// === impl Architecture ===

impl Architecture {
    /// This machine's.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// As images name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            "here" => Ok(Self::HERE),
            _ => Err(format!("{name} is neither amd64 nor arm64, nor \"here\"")),
        }
    }

    /// As Rust names it. One with glibc: see `binaries`.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The compiler that links for it on a machine of another kind, as Debian names it.
    pub fn linker(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu-gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// The program that runs binaries of it on a machine of another kind, as Debian names it.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-x86_64-static",
            Self::Arm64 => "qemu-aarch64-static",
        }
    }
}
