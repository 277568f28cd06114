import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { discoveriesIn, withEndpointsFiles } from './endpoints-file.ts'
import { type ObjectSet, readTexts, type TextFile } from './object-set.ts'
import { compareText, type Problem } from './problem.ts'

/** A configuration file larger than this is refused; etcd's own limit for one object is 1.5 MiB. */
const MAX_FILE_BYTES = 8 * 1024 * 1024
const MAX_FILES = 1000
const EXTENSIONS = new Set(['.yaml', '.yml', '.json'])

/** The texts of files and folders, and what was wrong with reading them. */
export interface FileTexts {
  readonly texts: readonly TextFile[]
  readonly problems: readonly Problem[]
}

/**
 * Reads files and folders (not their subfolders). Never rejects: what can't be read is a problem. Hidden files are skipped, so
 * that the `..data` links of mounted ConfigMaps don't count twice.
 */
export async function readFiles(paths: readonly string[]): Promise<FileTexts> {
  const problems: Problem[] = []
  const files: string[] = []
  for (const path of paths) files.push(...(await filesOf(path, problems)))
  const { texts, problems: unread } = await readEach(files)
  return { texts, problems: [...problems, ...unread] }
}

/** Reads and validates files and folders as one set. Never rejects. */
export async function loadFiles(paths: readonly string[]): Promise<ObjectSet> {
  const { texts, problems } = await readFiles(paths)
  const set = readTexts(texts, problems)
  const named = discoveriesIn(set.items).map(({ path }) => path)
  const files = await readEach(named)
  return withEndpointsFiles(set, named, files.texts, files.problems)
}

/** Reads files by their names. Never rejects. */
export async function readEach(paths: readonly string[]): Promise<FileTexts> {
  const problems: Problem[] = []
  const texts: TextFile[] = []
  for (const file of new Set(paths)) {
    const text = await readText(file, problems)
    if (text !== undefined) texts.push({ file, text })
  }
  return { texts, problems }
}

/** The configuration files that `path` stands for, in byte order. */
async function filesOf(path: string, problems: Problem[]): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const names = (await readdir(path)).filter(name => !name.startsWith('.') && EXTENSIONS.has(extname(name)))
    if (names.length === 0)
      problems.push(fileError(path, 'empty-folder', 'the folder has no *.yaml, *.yml or *.json file'))
    if (names.length > MAX_FILES)
      problems.push(fileError(path, 'too-large', `the folder has more than ${MAX_FILES} configuration files`))
    return names
      .sort(compareText)
      .slice(0, MAX_FILES)
      .map(name => join(path, name))
  } catch (error) {
    problems.push(fileError(path, 'unreadable', reason(error)))
    return []
  }
}

async function readText(file: string, problems: Problem[]): Promise<string | undefined> {
  try {
    const info = await stat(file)
    if (!info.isFile()) {
      problems.push(fileError(file, 'unreadable', 'is not a regular file'))
      return undefined
    }
    if (info.size > MAX_FILE_BYTES) {
      problems.push(fileError(file, 'too-large', `is ${info.size} bytes long; the limit is ${MAX_FILE_BYTES}`))
      return undefined
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file))
  } catch (error) {
    const notUtf8 = codeOf(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA'
    problems.push(fileError(file, notUtf8 ? 'encoding' : 'unreadable', notUtf8 ? 'is not UTF-8 text' : reason(error)))
    return undefined
  }
}

function fileError(file: string, code: string, message: string): Problem {
  return { severity: 'error', code, message, position: { file } }
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
}

function reason(error: unknown): string {
  const code = codeOf(error)
  if (code === 'ENOENT') return 'no such file or folder'
  if (code === 'EACCES') return 'permission denied'
  return error instanceof Error ? error.message : String(error)
}
