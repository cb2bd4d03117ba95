'use strict'

/** The addon. Where it cannot be loaded, the error says why each candidate failed. */

/** The chain of causes, flattened: the loader tries several files and keeps an error of each. */
function reasons(error, seen = new Set()) {
  if (error === null || error === undefined || seen.has(error)) return []
  seen.add(error)
  const inner = [error.cause].flat().concat(error.errors ?? [])
  const own = String(error.message ?? error).split('\n', 1)[0]
  return [own, ...inner.flatMap(e => reasons(e, seen))]
}

/** Builds for WebAssembly are not made: that they are missing is not the reason. */
const isNoise = line => /wasi|wasm/i.test(line)

function load() {
  try {
    return require('../native/binding.js')
  } catch (cause) {
    const { platform, arch, version } = process
    const why = [...new Set(reasons(cause))]
      .filter(line => !isNoise(line))
      .map(line => `  - ${line}`)
      .join('\n')
    throw new Error(
      `@tamma/events could not load its native addon for ${platform}-${arch} under Node ${version}:\n${why}`,
      { cause }
    )
  }
}

module.exports = load()
