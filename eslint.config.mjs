import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

const restrictedSyntax = [
  { selector: "ExportDefaultDeclaration", message: "Exports have names." },
  { selector: "TSEnumDeclaration", message: "Use a union of strings." },
];
const noClock = "deploy/ is pure: time comes in as an argument, and the port wakes it.";

export default defineConfig(
  { ignores: ["dist/", "build/", "node_modules/", "test/fixtures/", "examples/"] },
  {
    files: ["**/*.{ts,tsx}"],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      // A `using` declaration is used by being there.
      "@typescript-eslint/no-unused-vars": ["error", { varsIgnorePattern: "^_" }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "no-restricted-syntax": ["error", ...restrictedSyntax],
    },
  },
  { files: ["**/*.config.ts"], rules: { "no-restricted-syntax": "off" } },
  {
    // The imports of deploy/ are dependency-cruiser's to hold; these come without one.
    files: ["deploy/**/*.ts"],
    rules: {
      "no-restricted-globals": [
        "error",
        ...[
          "setTimeout",
          "setInterval",
          "setImmediate",
          "queueMicrotask",
          "performance",
          "process",
          "fetch",
        ].map((name) => ({ name, message: noClock })),
      ],
      "no-restricted-properties": [
        "error",
        { object: "Date", property: "now", message: noClock },
        {
          object: "Math",
          property: "random",
          message: "deploy/ is pure: the same observation, the same step.",
        },
      ],
      "no-restricted-syntax": [
        "error",
        ...restrictedSyntax,
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: noClock },
      ],
    },
  },
  {
    files: ["**/*.mjs"],
    rules: { "no-unused-vars": "error", "prefer-const": "error", eqeqeq: ["error", "smart"] },
  },
);
