import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')

/** Texts by file name of the units that the package ships besides comfy-machine.service: the health port with default values. */
export async function packagedUnits(): Promise<Record<string, string>> {
  const renderer = path.join(root, 'src/render/packaged.ts')
  if (existsSync(renderer)) {
    const { renderPackagedUnits } = (await import(renderer)) as { renderPackagedUnits: Renderer }
    return renderPackagedUnits(await templates())
  }
  const names = ['comfy-health.socket', 'comfy-health.service']
  const texts = names.map(async (name) => [name, await readFile(path.join(import.meta.dirname, 'deb', name), 'utf8')])
  return Object.fromEntries(await Promise.all(texts))
}

type Renderer = (templates: Record<string, string>) => Record<string, string>

async function templates(): Promise<Record<string, string>> {
  const folder = path.join(root, 'units/templates')
  const names = (await readdir(folder)).filter((name) => name.endsWith('.ejs'))
  const texts = names.map(async (name) => [
    name.slice(0, -'.ejs'.length),
    await readFile(path.join(folder, name), 'utf8'),
  ])
  return Object.fromEntries(await Promise.all(texts))
}
