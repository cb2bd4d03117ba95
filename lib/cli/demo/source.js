'use strict'

/**
 * The text of a function's body as one would write it, without the function around it.
 * @param {(...args: any[]) => unknown} ask an arrow function
 */
function sourceOf(ask) {
  const text = ask.toString()
  const body = text.slice(text.indexOf('=>') + 2).trim()
  const lines = (body.startsWith('{') ? body.slice(1, -1) : body).split('\n').filter(line => line.trim() !== '')
  // The first line stands where the function began, the others keep the file's indentation.
  const indents = lines.slice(body.startsWith('{') ? 0 : 1).map(line => /^ */.exec(line)[0].length)
  const cut = Math.min(...indents.filter(indent => indent > 0), ...(indents.length === 0 ? [0] : []))
  const plain = lines.map(line => line.slice(Math.min(cut, /^ */.exec(line)[0].length)))
  if (body.startsWith('{')) return plain.filter(line => !line.startsWith('return '))
  return plain.map((line, at) => (at === 0 ? line.trim() : `  ${line}`))
}

module.exports = { sourceOf }
