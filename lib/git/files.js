'use strict'

const { languageOf } = require('./languages.js')

const TEST = /(?:^|\/)(?:tests?|__tests?__|specs?)\/|[._](?:test|spec)\.[^/]+$/i
const DOC = /(?:^|\/)docs?\/|\.(?:md|mdx|rst|adoc)$/i
const CI =
  /^\.github\/workflows\/|^\.ci\/|^\.circleci\/|^\.buildkite\/|^\.gitlab-ci\.yml$|^\.travis\.yml$|^azure-pipelines\.yml$|^Jenkinsfile$/
const MANIFEST =
  /(?:^|\/)(?:package\.json|Cargo\.toml|pyproject\.toml|setup\.py|requirements\.txt|go\.mod|pom\.xml|build\.gradle(?:\.kts)?|Gemfile|composer\.json|[^/]+\.csproj)$/

/** What a commit did to files, summed up entry by entry: no list of paths is kept. */
class FileSummary {
  files = 0
  insertions = 0
  deletions = 0
  binaryFiles = 0
  added = 0
  deleted = 0
  renamed = 0
  testFiles = 0
  docFiles = 0
  ciFiles = 0
  manifestFiles = 0
  submodules = 0
  #languages = new Map()
  #areas = new Map()
  #submodulePaths

  /** @param {{ status: string, submodule: boolean }} change @param {string} path */
  change({ status, submodule }, path) {
    if (submodule) {
      this.submodules++
      this.#submodulePaths ??= new Set()
      this.#submodulePaths.add(path)
      return
    }
    this.files++
    if (status === 'A') this.added++
    else if (status === 'D') this.deleted++
    else if (status === 'R') this.renamed++
    if (TEST.test(path)) this.testFiles++
    if (DOC.test(path)) this.docFiles++
    if (CI.test(path)) this.ciFiles++
    if (MANIFEST.test(path)) this.manifestFiles++
    increment(this.#languages, languageOf(path))
    const slash = path.indexOf('/')
    increment(this.#areas, slash === -1 ? '.' : path.slice(0, slash))
  }

  /** '-' stands for a binary file. A submodule shows as one line, which is none of this repository's. */
  lines(insertions, deletions, path) {
    if (this.#submodulePaths?.has(path)) return
    if (insertions === '-') {
      this.binaryFiles++
      return
    }
    this.insertions += Number(insertions)
    this.deletions += Number(deletions)
  }

  /** The top folder with most of the files, '.' for the root; by name where two have as many. */
  get area() {
    let best
    for (const [area, count] of this.#areas) {
      if (best === undefined || count > best.count || (count === best.count && area < best.area)) best = { area, count }
    }
    return best?.area
  }

  get areas() {
    return this.#areas.size
  }

  /** @returns {Record<string, number>} files by language */
  get languages() {
    return Object.fromEntries([...this.#languages].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** @param {boolean} counted whether lines and renames were looked for */
  size(counted) {
    return { files: this.files, ...(counted && { insertions: this.insertions, deletions: this.deletions }) }
  }

  /** All of it. @param {boolean} counted */
  facts(counted) {
    const { binaryFiles, added, deleted, renamed, submodules, testFiles, docFiles, ciFiles, manifestFiles } = this
    return {
      ...this.size(counted),
      ...(counted && { binaryFiles, added, deleted, renamed }),
      submodules,
      testFiles,
      docFiles,
      ciFiles,
      manifestFiles,
      areas: this.areas,
      languages: this.languages
    }
  }
}

function increment(counts, key) {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

module.exports = { FileSummary }
