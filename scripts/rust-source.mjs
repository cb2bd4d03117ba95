// Reads Rust source just well enough to ask about its paths and string literals: comments and
// literals are told from code, and inline modules and test code are known.

const STRING_START = /(?:b|c)?"|(?:br|cr|r)(#*)"/y
const CHAR = /'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.)|[^\\'\n])'/y

/** Where a block comment that opens at `start` ends; they nest. */
function endOfBlockComment(text, start) {
  let depth = 0
  for (let i = start; i < text.length; i++) {
    if (text.startsWith('/*', i)) {
      depth++
      i++
    } else if (text.startsWith('*/', i)) {
      i++
      if (--depth === 0) return i + 1
    }
  }
  return text.length
}

/** Where a literal ends whose body starts at `start`; raw ones end at a quote and as many hashes. */
function endOfString(text, start, hashes) {
  if (hashes !== undefined) {
    const end = text.indexOf(`"${hashes}`, start)
    return end < 0 ? text.length : end + 1 + hashes.length
  }
  for (let i = start; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '"') return i + 1
  }
  return text.length
}

const blank = text => text.replace(/[^\n]/g, ' ')

/**
 * `code` has the length and the lines of the text, with comments and literals blanked.
 * `strings` are the literals' bodies with the offset at which each begins.
 */
function split(text) {
  let code = ''
  const strings = []
  let i = 0
  while (i < text.length) {
    let end = i + 1
    let isCode = false
    if (text.startsWith('//', i)) {
      end = text.indexOf('\n', i)
      if (end < 0) end = text.length
    } else if (text.startsWith('/*', i)) {
      end = endOfBlockComment(text, i)
    } else {
      const inWord = i > 0 && /\w/.test(text[i - 1])
      STRING_START.lastIndex = i
      CHAR.lastIndex = i
      const opening = inWord ? null : STRING_START.exec(text)
      if (opening) {
        const start = i + opening[0].length
        end = endOfString(text, start, opening[1])
        strings.push({ offset: i, text: text.slice(start, end - 1 - (opening[1]?.length ?? 0)) })
      } else {
        const char = text[i] === "'" ? CHAR.exec(text) : null
        if (char) end = i + char[0].length
        else isCode = true
      }
    }
    code += isCode ? text.slice(i, end) : blank(text.slice(i, end))
    i = end
  }
  return { code, strings }
}

/** The `{ ... }` ranges of inline modules, and whether each is compiled for tests alone. */
function inlineModules(code) {
  const modules = []
  for (const match of code.matchAll(
    /(#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*)?(?:pub(?:\([^)]*\))?\s+)?\bmod\s+(\w+)\s*\{/g
  )) {
    const start = match.index + match[0].length
    let depth = 1
    let end = start
    while (end < code.length && depth > 0) {
      if (code[end] === '{') depth++
      else if (code[end] === '}') depth--
      end++
    }
    modules.push({ start, end, name: match[2], test: match[1] !== undefined })
  }
  return modules
}

/** `{ a, b::{c, d} }` and the like, from the offset of the brace: the first name of each member. */
function firstNames(code, brace) {
  const names = []
  let depth = 0
  let expecting = false
  for (let i = brace; i < code.length; i++) {
    if (code[i] === '{') {
      depth++
      expecting = depth === 1
    } else if (code[i] === '}') {
      if (--depth === 0) break
    } else if (code[i] === ',' && depth === 1) {
      expecting = true
    } else if (expecting && /\w/.test(code[i])) {
      const name = /\w+/y
      name.lastIndex = i
      names.push({ name: name.exec(code)[0], offset: i })
      expecting = false
    }
  }
  return names
}

/** The names right below the crate's root that paths lead to: by `crate::`, or by enough `super::`. */
function rootNames(code, modulePath, modules) {
  const found = []
  for (const match of code.matchAll(/\b(crate|super(?:\s*::\s*super)*)\s*::\s*(\{|\w+)/g)) {
    if (match[1] !== 'crate') {
      const inline = modules.filter(m => m.start <= match.index && match.index < m.end).length
      const supers = match[1].split('::').length
      if (supers < modulePath.length + inline) continue
    }
    const offset = match.index + match[0].length - match[2].length
    if (match[2] === '{') found.push(...firstNames(code, offset))
    else found.push({ name: match[2], offset })
  }
  return found
}

/**
 * @param {string} text
 * @param {string[]} modulePath the file's modules below the crate, such as ['query', 'filter']
 */
export function readRust(text, modulePath) {
  const { code, strings } = split(text)
  const modules = inlineModules(code)
  return {
    code,
    strings,
    roots: rootNames(code, modulePath, modules),
    lineOf: offset => text.slice(0, offset).split('\n').length,
    inTest: offset => modules.some(m => m.test && m.start <= offset && offset < m.end),
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  }
}
