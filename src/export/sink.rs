//! Where encoded bytes gather until they are taken: packed on the way where that is wanted.

use std::io::{self, Write};

use flate2::{Compression as Level, write::GzEncoder};
use zstd::stream::write::Encoder as Zstd;

use super::options::Compression;

/// Bytes under way.
pub enum Sink {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(Zstd<'static, Vec<u8>>),
}

impl Sink {
    /// An empty sink.
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None | Compression::Snappy => Self::Plain(Vec::new()),
            Compression::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Level::default())),
            Compression::Zstd => Self::Zstd(Zstd::new(Vec::new(), 0)?),
        })
    }

    /// What has gathered.
    pub fn gathered(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Gzip(packer) => packer.get_mut(),
            Self::Zstd(packer) => packer.get_mut(),
        }
    }

    /// The last bytes.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            Self::Gzip(packer) => packer.finish(),
            Self::Zstd(packer) => packer.finish(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(gathered) => gathered.write(bytes),
            Self::Gzip(packer) => packer.write(bytes),
            Self::Zstd(packer) => packer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
