// Transpiles src/, test/ and bench/ file by file into build/, so that tests start within a second. Types are checked
// by `npm run types`. A file that does not parse is named, and the others are still written.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from 'esbuild';

export function sourceFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

export function compile(outFolder = 'build') {
  let failed = 0;
  for (const file of ['src', 'test', 'bench'].flatMap(sourceFiles)) {
    const isTypeScript = /\.tsx?$/.test(file) && !file.endsWith('.d.ts');
    const out = join(outFolder, isTypeScript ? file.replace(/\.ts$/, '.js') : file);
    if (existsSync(out) && statSync(out).mtimeMs > statSync(file).mtimeMs) continue;
    mkdirSync(dirname(out), { recursive: true });
    if (!isTypeScript) {
      cpSync(file, out);
      continue;
    }
    try {
      const { code } = transformSync(readFileSync(file, 'utf8'), {
        loader: 'ts',
        format: 'esm',
        target: 'node20',
        sourcemap: 'inline',
        sourcefile: join(process.cwd(), file),
      });
      writeFileSync(out, code);
    } catch (error) {
      failed++;
      rmSync(out, { force: true });
      console.error(`${file}: ${error.message}`);
    }
  }
  return failed;
}

if (process.argv[1] === import.meta.filename) process.exitCode = compile() === 0 ? 0 : 1;
