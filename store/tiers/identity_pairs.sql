-- People who are seen in two places, both clips fit to learn from: who somebody is, apart from where they are.
SELECT clip_id
FROM pretrain
WHERE clip_id IN (
        SELECT clip_a FROM pairs WHERE clip_b IN (SELECT clip_id FROM pretrain)
        UNION SELECT clip_b FROM pairs WHERE clip_a IN (SELECT clip_id FROM pretrain))
      -- source: background_embedding's scorecard, which parts places; training needs both clips of a pair
